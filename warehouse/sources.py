"""Opens an export of any known format as lines of JSON: what each file is, told by its bytes.

NDJSON is read as it is, a JSON array (or objects over several lines each) element by element; CSV
and Parquet are read by a process of their own (tables.py). gzip and zstd are unpacked on the way.
Nothing is followed out of a folder: symbolic links in it are passed over.
"""

from __future__ import annotations

import glob
import gzip
import io
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ingest.errors import UsageError
from warehouse.json_arrays import ArrayError, array_lines, object_lines

Read = Callable[[int], bytes]
Format = Literal["ndjson", "array", "objects", "csv", "parquet"]
Compression = Literal["gzip", "zstd"]

_NAMES: Final = ("ndjson", "jsonl", "json", "csv", "tsv")
SUFFIXES: Final = (
    *(f".{name}{packed}" for name in _NAMES for packed in ("", ".gz", ".zst")),
    ".parquet",
)
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_PARQUET: Final = b"PAR1"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_HEAD_BYTES: Final = 4096
_TABLE_NAME: Final = re.compile(r".*\.[ct]sv(?:\.gz|\.zst)?", re.IGNORECASE)
_OBJECT_OVER_LINES: Final = re.compile(rb"\{[ \t\r]*\n[ \t\r\n]*\"")
_PATTERN: Final = re.compile(r"[*?\[]")


class ExportError(UsageError):
    """A path that cannot be read as an export of events."""

    code = "export"


@dataclass(frozen=True)
class TableOptions:
    """How tables become events: column -> field, and the type of every row where none says it."""

    mapping: dict[str, str] = field(default_factory=dict)
    event: str | None = None

    @property
    def is_given(self) -> bool:
        return bool(self.mapping) or self.event is not None


@dataclass(frozen=True)
class Source:
    """A file, and what it is."""

    path: Path
    format: Format
    compression: Compression | None
    options: TableOptions


def find_files(paths: Sequence[Path], skipped: Collection[Path] = ()) -> list[Path]:
    """The files the paths mean, each once: folders opened, patterns filled in, in order.

    skipped: files that are passed over in folders.
    Raises: ExportError naming the first path that means nothing.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = [
                file.resolve()
                for file in sorted(path.rglob("*"))
                if _is_export(file) and file.resolve() not in skipped
            ]
            if not inside:
                raise ExportError(
                    f"cannot load {path}: the folder has no file that ends in {', '.join(SUFFIXES)}"
                )
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path.resolve()] = None
        elif path.exists():
            raise ExportError(f"cannot load {path}: it is neither a file nor a folder")
        elif _PATTERN.search(str(path)) and (matches := _matches(path)):
            found |= dict.fromkeys(find_files(matches, skipped))
        else:
            raise ExportError(f"cannot load {path}: there is no such file or folder")
    return list(found)


def _is_export(file: Path) -> bool:
    return not file.is_symlink() and file.is_file() and file.name.lower().endswith(SUFFIXES)


def _matches(pattern: Path) -> list[Path]:
    return [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]  # noqa: PTH207


def recognise(path: Path, options: TableOptions) -> Source:
    """What the file is. Raises: ExportError for what cannot be loaded, and how to mend it."""
    try:
        with path.open("rb") as stream:
            beginning = stream.read(4)
    except OSError as error:
        raise ExportError(f"cannot load {path}: {error.strerror}") from None
    if beginning == _PARQUET:
        return Source(path, "parquet", None, options)
    compression: Compression | None = None
    if beginning.startswith(_GZIP):
        compression = "gzip"
    elif beginning == _ZSTD:
        compression = "zstd"
    with _unpacked(path, compression) as read:
        head = guarded(path, read, _HEAD_BYTES)
    _check_text(path, head)
    return Source(path, _format(path, head, options), compression, options)


def _format(path: Path, head: bytes, options: TableOptions) -> Format:
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if _OBJECT_OVER_LINES.match(text):
        found: Format = "objects"
    elif text.startswith(b"{"):
        found = "ndjson"
    elif text.startswith(b"[") and not _is_line_of_json(text):
        found = "array"
    elif _TABLE_NAME.fullmatch(path.name) or options.is_given:
        return "csv"
    else:
        found = "ndjson"
    if options.is_given:
        raise ExportError(
            f"cannot load {path} with --map or --event: it is JSON, which names its own fields"
        )
    return found


def _is_line_of_json(text: bytes) -> bool:
    """Whether the first of several lines is a whole JSON value: NDJSON of something odd."""
    line, newline, rest = text.partition(b"\n")
    if not newline or not rest.strip():
        return False
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _check_text(path: Path, head: bytes) -> None:
    found = None
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        found = "it is UTF-16, not UTF-8; convert it, for instance with iconv -f UTF-16 -t UTF-8"
    elif head.startswith(_PARQUET):
        found = "it is a packed Parquet file; unpack it first"
    elif b"\0" in head:
        found = "it is binary; events are read from NDJSON, JSON arrays, CSV and Parquet"
    if found:
        raise ExportError(f"cannot load {path}: {found}")


@contextmanager
def opened(source: Source, *, element_bytes_max: int) -> Iterator[Read]:
    """The file's lines, as a binary file's read; the same ones every time.

    element_bytes_max: of an array's element. Raises, also while reading: ExportError.
    """
    if source.format in ("csv", "parquet"):
        with _table(source) as read:
            yield read
        return
    with _unpacked(source.path, source.compression) as unpacked:

        def read_on(size: int) -> bytes:
            return guarded(source.path, unpacked, size)

        if source.format == "ndjson":
            yield read_on
        else:
            split = array_lines if source.format == "array" else object_lines
            yield _reader(source.path, split(read_on, element_bytes_max=element_bytes_max))


def guarded(path: Path, read: Read, size: int) -> bytes:
    """`read`, with whatever a broken file raises as an ExportError."""
    try:
        return read(size)
    except (OSError, EOFError, zlib.error) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise ExportError(f"cannot read on in {path}: {found}; is the file whole?") from None


@contextmanager
def _unpacked(path: Path, compression: Compression | None) -> Iterator[Read]:
    if compression == "zstd":
        import pyarrow as pa

        with pa.OSFile(str(path)) as file, pa.CompressedInputStream(file, "zstd") as stream:
            yield stream.read
        return
    with gzip.open(path) if compression == "gzip" else path.open("rb") as plain:
        yield plain.read


def _reader(path: Path, blocks: Iterator[bytes]) -> Read:
    waiting = io.BytesIO()

    def read(size: int) -> bytes:
        nonlocal waiting
        while True:
            found = waiting.read(size)
            if found:
                return found
            try:
                waiting = io.BytesIO(next(blocks))
            except StopIteration:
                return b""
            except ArrayError as error:
                raise ExportError(f"cannot read on in {path}: {error}") from None

    return read


@contextmanager
def _table(source: Source) -> Iterator[Read]:
    order = {
        "format": source.format,
        "compression": source.compression,
        "columns": {"mapping": source.options.mapping, "event": source.options.event},
    }
    with (
        source.path.open("rb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "warehouse.tables", json.dumps(order)],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
        ) as child,
    ):
        assert child.stdout is not None
        assert child.stderr is not None
        stdout, stderr = child.stdout, child.stderr

        def read(size: int) -> bytes:
            found = stdout.read(size)
            if not found and child.wait():
                _give_up(source.path, child.returncode, stderr.read())
            return found

        try:
            yield read
        finally:
            child.kill()


def _environment() -> dict[str, Any]:
    """Nothing of ours but where Python finds its modules: no secret reaches the child."""
    kept = ("PATH", "LANG", "LC_ALL", "VIRTUAL_ENV")
    root = str(Path(__file__).resolve().parents[1])
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": root,
        "POLARS_MAX_THREADS": "1",
        "PYTHONUTF8": "1",
    }


def _give_up(path: Path, code: int, said: bytes) -> None:
    text = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if code < 0 or not text:
        text = "its parser died over it; the file is damaged, or made to do harm"
    raise ExportError(f"cannot load {path}: {text}")
