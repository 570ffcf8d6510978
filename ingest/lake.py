"""Writes lake files: Parquet, one fixed schema, durable before anybody hears of them.

A file is written to the staging folder, synced, renamed into its partition and its folders synced;
the caller then enters it into the ledger. Names are made of a node and a range of sequence numbers,
so writing a range again overwrites the very same files.

Source: events.md "One stored row"; design.md decision 2.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from ingest.catalogue import LakeFile
from ingest.contract import FILE_COLUMNS
from ingest.errors import LandingError
from ingest.paths import DataDir, ensure_directory_durably, fsync_directory

_INSTANT: Final = pl.Datetime("us", "UTC")
_TYPES: Final[dict[str, pl.DataType]] = {
    "occurred_at": _INSTANT,
    "received_at": _INSTANT,
    "seq": pl.Int64(),
    "auto_renew": pl.Boolean(),
    "amount": pl.Decimal(18, 2),
    "start_date": pl.Date(),
    "end_date": pl.Date(),
    "renewal_date": pl.Date(),
    "due_date": pl.Date(),
}
FILE_SCHEMA: Final[dict[str, pl.DataType]] = {
    name: _TYPES.get(name, pl.String()) for name in FILE_COLUMNS
}
"""Column -> polars type of every lake file; order is the file's."""

COMPRESSION_LEVEL: Final = 3
ROW_GROUP_ROWS: Final = 122_880
FULL_DISK_FREE_BYTES_MAX: Final = 4 << 20
"""More than one write of polars takes: where less is free, this is why it failed."""
_HASH_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class WrittenFile:
    """A file that is durable in the lake; `path` is relative to the lake's root."""

    path: str
    event_type: str
    event_month: str
    node: str
    first_seq: int
    last_seq: int
    rows: int
    bytes: int
    sha256: str


def write_range(
    paths: DataDir, rows: pl.DataFrame, *, node: str, first_seq: int, last_seq: int
) -> list[WrittenFile]:
    """Write the rows of one range, a file for each partition; returns when all are durable.

    rows: the columns of FILE_SCHEMA and the partition columns event_type, event_month, by rising
    seq. Raises: LandingError.
    """
    written = []
    folders: set[Path] = set()
    temporary = None
    try:
        ensure_directory_durably(paths.staging, below=paths.staging)
        ensure_directory_durably(paths.lake, below=paths.root)
        for (event_type, event_month), part in _partitions(rows):
            relative = (
                f"event_type={event_type}/event_month={event_month}/"
                f"{node}-{first_seq}-{last_seq}.parquet"
            )
            target = paths.lake / relative
            ensure_directory_durably(target.parent, below=paths.lake)
            temporary = paths.staging / target.name
            size, digest = write_synced(part, temporary)
            temporary.rename(target)
            folders.add(target.parent)
            written.append(
                WrittenFile(
                    relative,
                    event_type,
                    event_month,
                    node,
                    first_seq,
                    last_seq,
                    part.height,
                    size,
                    digest,
                )
            )
        for folder in folders:
            fsync_directory(folder)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = _reason(error, paths, temporary)
        raise LandingError(
            f"writing events {first_seq} to {last_seq} into {paths.lake}: {reason}"
        ) from error
    return written


def write_again(
    paths: DataDir,
    write: Callable[[Path], None],
    like: LakeFile,
    *,
    relative: str,
) -> WrittenFile:
    """Write other rows of a file's range as the file `relative` of its partition; durable then.

    write: makes a durable file of the columns of FILE_SCHEMA. Raises: LandingError.
    """
    target = paths.lake / relative
    temporary = paths.staging / target.name
    try:
        ensure_directory_durably(paths.staging, below=paths.staging)
        write(temporary)
        size, digest = temporary.stat().st_size, file_sha256(temporary)
        count = int(pl.scan_parquet(temporary).select(pl.len()).collect().item())
        temporary.rename(target)
        fsync_directory(target.parent)
    except (OSError, pl.exceptions.PolarsError, ValueError) as error:  # Arrow's are ValueErrors
        reason = _reason(error, paths, temporary)
        raise LandingError(f"writing {target} anew: {reason}") from error
    return WrittenFile(
        relative,
        like.event_type,
        like.event_month,
        like.node,
        like.first_seq,
        like.last_seq,
        count,
        size,
        digest,
    )


def _reason(error: Exception, paths: DataDir, temporary: Path | None) -> str:
    """What was in the way; polars names a full disk by whatever it was writing just then.

    Removes what was written so far, after looking at the space that it leaves.
    """
    if isinstance(error, OSError):
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    else:
        status = os.statvfs(paths.root)
        is_full = status.f_bavail * status.f_frsize < FULL_DISK_FREE_BYTES_MAX
    if temporary is not None:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    if is_full:
        return f"{os.strerror(errno.ENOSPC)}; free some space, and the next attempt goes on"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def file_sha256(path: Path) -> str:
    """The checksum the catalogue keeps of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _partitions(rows: pl.DataFrame) -> Iterator[tuple[tuple[str, str], pl.DataFrame]]:
    parts = rows.partition_by("event_type", "event_month", as_dict=True, maintain_order=True)
    for key in sorted(parts):
        yield (str(key[0]), str(key[1])), parts[key].select(*FILE_SCHEMA)


def write_synced(
    part: pl.DataFrame, path: Path, *, level: int = COMPRESSION_LEVEL
) -> tuple[int, str]:
    """Write the columns of FILE_SCHEMA as a lake file to `path`, durably; its size and sha256."""
    with path.open("w+b") as stream:
        part.write_parquet(
            stream,
            compression="zstd",
            compression_level=level,
            row_group_size=ROW_GROUP_ROWS,
        )
        stream.flush()
        os.fsync(stream.fileno())
    return path.stat().st_size, file_sha256(path)
