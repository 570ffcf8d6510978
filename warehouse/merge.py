"""Several lake files into one: the same rows in the order of their numbers, proved before any swap.

The inputs' checksums are compared with the catalogue first, so that a damaged file is never hidden
in a sound one; the finished file is read again from the disk and must hold as many rows of the very
same content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa

from ingest.contract import FILE_COLUMNS
from ingest.errors import StorageError
from ingest.lake import FILE_SCHEMA, WrittenFile, file_sha256
from ingest.paths import DataDir
from warehouse.dense import LEVEL_QUICK, LEVEL_SLOW, write_dense
from warehouse.tiers import DENSE_ROWS_MIN, Merge

UNFINISHED: Final = ".merging"


class MergeError(StorageError):
    """These files cannot be merged; they stay as they are."""

    code = "merge"


@dataclass(frozen=True)
class Content:
    """What a set of files holds, whatever the order of its rows."""

    rows: int
    digest: int


def write_merged(paths: DataDir, merge: Merge) -> tuple[Path, WrittenFile]:
    """Write one merge into the staging folder, synced; its place there, and what will be entered.

    Raises: MergeError where an input is damaged or the result is not the same rows.
    """
    inputs = [paths.lake / file.path for file in merge.files]
    for file, path in zip(merge.files, inputs, strict=True):
        if not path.is_file() or file_sha256(path) != file.sha256:
            raise MergeError(
                f"merging {file.path}: the file is missing or has changed since it was written; "
                "`hooklake doctor` tells what to do, it is left out of every merge until then"
            )
    first = merge.files[0]
    temporary = paths.staging / f"{Path(merge.path).name}{UNFINISHED}"
    level = LEVEL_SLOW if merge.rows >= DENSE_ROWS_MIN else LEVEL_QUICK
    _write(inputs, temporary, level)
    before, after = content_of(inputs), content_of([temporary])
    if before != after or before.rows != merge.rows:
        raise MergeError(
            f"merging {len(inputs)} files into {merge.path}: {after.rows} rows were written of "
            f"{before.rows}, or not the same; the files stay as they are"
        )
    written = WrittenFile(
        path=merge.path,
        event_type=first.event_type,
        event_month=first.event_month,
        node=first.node,
        first_seq=min(file.first_seq for file in merge.files),
        last_seq=max(file.last_seq for file in merge.files),
        rows=merge.rows,
        bytes=temporary.stat().st_size,
        sha256=file_sha256(temporary),
    )
    return temporary, written


def content_of(files: Sequence[Path]) -> Content:
    """Row count and the sum of every row's hash: the same for the same rows in any order."""
    columns = ", ".join(FILE_COLUMNS)
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        rows, digest = connection.execute(
            f"select count(*), coalesce(sum(hash({columns})::hugeint), 0)"
            " from read_parquet(?, hive_partitioning = false)",
            [[str(file) for file in files]],
        ).fetchall()[0]
    return Content(int(rows), int(digest))


def _write(inputs: Sequence[Path], target: Path, level: int) -> None:
    frame = pl.scan_parquet(
        list(inputs), hive_partitioning=False, schema=pl.Schema(FILE_SCHEMA), glob=False
    )
    try:
        write_dense(frame, target, level=level)
    except (pl.exceptions.PolarsError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise MergeError(f"merging {len(inputs)} files into {target.name}: {reason}") from error
