"""A person out of every other file below the data directory: exports, logs, the shell's history.

What is known to hold nothing anybody sent is passed over. Of a file of lines every line that speaks
of the person goes, of a Parquet file every row; another text has the address replaced. What can be
changed by none of these is named, so that its owner decides.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from ingest.paths import DataDir, write_file_durably
from warehouse.backup import MANIFEST, MARK
from warehouse.mentions import Mentions

_TABLES: Final = (".csv", ".tsv")
_LINES: Final = (*_TABLES, ".ndjson", ".jsonl", ".log", ".txt", "sql_history")
_LOCKS: Final = ".lock"
_OURS: Final = re.compile(
    r"ledger\.sqlite(-wal|-shm)?|(state|serve|warehouse-\d+)\.duckdb(\.wal)?|\.warehouse.*\.tmp"
)
_CLOSED: Final = (b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh")
"""How archives begin that are not looked into: zip, zstd, xz, bzip2."""
_DUCKDB: Final = (8, b"DUCK")
_GZIP: Final = b"\x1f\x8b"
_PARQUET: Final = b"PAR1"


def clean(paths: DataDir, mentions: Mentions) -> tuple[list[str], list[str]]:
    """Names below the data directory of the files changed, and of those that could not be."""
    changed: list[str] = []
    left = [f"{path.relative_to(paths.root).as_posix()} (a backup)" for path in _backups(paths)]
    for path in _others(paths):
        name = mentions.redacted(path.relative_to(paths.root).as_posix())
        try:
            outcome = _clean_one(path, mentions)
        except (OSError, EOFError, pl.exceptions.PolarsError):
            outcome = False
        if outcome is not None:
            (changed if outcome else left).append(name)
        if mentions.found(path.name):
            path.rename(path.with_name(mentions.redacted(path.name)))
    return changed, left


def _others(paths: DataDir) -> Iterator[Path]:
    """Files that the erasure does not handle by other means."""
    known = {paths.secrets, paths.viewing, paths.root / "erasures", paths.root / "dbt"}
    known |= {paths.lake, paths.staging, paths.state, paths.serve, paths.warehouse}
    for folder, names, files in os.walk(paths.root):
        here = Path(folder)
        names[:] = [
            name for name in names if here / name not in known and not _is_backup(here / name)
        ]
        for name in sorted(files):
            path = here / name
            is_ours = path in known or (here == paths.root and bool(_OURS.fullmatch(name)))
            if not is_ours and not name.endswith(_LOCKS) and not path.is_symlink():
                yield path


def _backups(paths: DataDir) -> Iterator[Path]:
    """Backups below the data directory: they are whole or worthless, so nothing in them changes."""
    for folder, names, _ in os.walk(paths.root):
        for name in sorted(names):
            if _is_backup(Path(folder) / name):
                yield Path(folder) / name
        names[:] = [name for name in names if not _is_backup(Path(folder) / name)]


def _is_backup(folder: Path) -> bool:
    return (folder / MANIFEST).exists() or (folder / MARK).exists()


def _clean_one(path: Path, mentions: Mentions) -> bool | None:
    """True: changed; False: it speaks of the person, or may, and stays; None: it does not."""
    raw = path.read_bytes()
    if raw.startswith(_PARQUET):
        return _clean_parquet(path, mentions)
    at, magic = _DUCKDB
    if raw.startswith(_CLOSED) or raw[at : at + len(magic)] == magic:
        return False
    is_zipped = raw.startswith(_GZIP)
    text = gzip.decompress(raw) if is_zipped else raw
    if not mentions.found_in_bytes(text):
        return None
    if b"\0" in text:
        return False
    name = path.name.removesuffix(".gz")
    if name.endswith(_LINES):
        lines = _records(text) if name.endswith(_TABLES) else text.splitlines(keepends=True)
        kept = b"".join(line for line in lines if not mentions.found_in_bytes(line))
    else:
        kept = mentions.redacted_bytes(text)
    write_file_durably(path, gzip.compress(kept) if is_zipped else kept)
    return True


def _clean_parquet(path: Path, mentions: Mentions) -> bool | None:
    frame = pl.read_parquet(path, hive_partitioning=False)
    spoken_of = pl.Series([False] * frame.height, dtype=pl.Boolean)
    for column in frame.columns:
        if frame.schema[column] == pl.String():
            found = [bool(text) and mentions.found(text) for text in frame[column].to_list()]
            spoken_of |= pl.Series(found, dtype=pl.Boolean)
    if not spoken_of.any():
        return None
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    frame.filter(~spoken_of).write_parquet(temporary, compression="zstd")
    content = temporary.read_bytes()
    temporary.unlink()
    write_file_durably(path, content)
    return True


def _records(text: bytes) -> Iterator[bytes]:
    """Lines with their ends; those inside one quoted CSV cell stay together."""
    record = b""
    for line in text.splitlines(keepends=True):
        record += line
        if record.count(b'"') % 2 == 0:
            yield record
            record = b""
    if record:
        yield record
