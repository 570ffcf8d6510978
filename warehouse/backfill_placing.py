"""From staged files to the lake: duplicates taken out, ids in their final form, files in place.

A staged file that holds nothing but new rows is the lake file already; another is written once
more without its duplicates. Files are renamed into the lake and synced; the caller enters them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from ingest.lake import WrittenFile
from ingest.paths import DataDir, ensure_directory_durably, fsync_directory
from warehouse.backfill_report import Report
from warehouse.backfill_staging import StagedFile, write_file
from warehouse.novelty import Verdicts, verdicts_of


@dataclass(frozen=True)
class Remainder:
    """What is new of a staged file, not written yet."""

    file: StagedFile
    rows: pl.DataFrame

    def write(self, folder: Path) -> StagedFile:
        """Write it over the staged file."""
        partition = (self.file.event_type, self.file.event_month)
        return write_file(self.rows, partition, self.file.number, folder)


def settle(
    staged: Sequence[StagedFile],
    verdicts: Mapping[int, Verdicts],
    database: duckdb.DuckDBPyConnection,
    report: Report,
) -> Iterator[StagedFile | Remainder]:
    """What of each staged file is to enter the lake; the report tells of it."""
    for file in staged:
        found = verdicts.get(file.number, Verdicts(0, 0))
        report.duplicate += found.duplicate
        report.renamed += found.renamed
        if found.duplicate == file.rows:
            file.path.unlink()
        elif found.duplicate or found.renamed:
            rows = _new_rows(file, verdicts_of(database, file.number))
            _note(report, file.event_type, rows.height, rows["occurred_at"])
            yield Remainder(file, rows)
        else:
            span = pl.Series([file.first_occurred_at, file.last_occurred_at])
            _note(report, file.event_type, file.rows, span)
            yield file


def place(paths: DataDir, files: Sequence[StagedFile], node: str) -> list[WrittenFile]:
    """Move finished files into the lake; returns when they are durable there."""
    placed = []
    folders = set()
    ensure_directory_durably(paths.lake, below=paths.root)
    for file in files:
        relative = (
            f"event_type={file.event_type}/event_month={file.event_month}/"
            f"{node}-{file.first_seq}-{file.last_seq}.parquet"
        )
        target = paths.lake / relative
        ensure_directory_durably(target.parent, below=paths.lake)
        file.path.rename(target)
        folders.add(target.parent)
        placed.append(
            WrittenFile(
                relative,
                file.event_type,
                file.event_month,
                node,
                file.first_seq,
                file.last_seq,
                file.rows,
                file.bytes,
                file.sha256,
            )
        )
    for folder in folders:
        fsync_directory(folder)
    return placed


def _new_rows(file: StagedFile, verdicts: pl.DataFrame) -> pl.DataFrame:
    rows = pl.read_parquet(file.path, hive_partitioning=False, memory_map=False)
    duplicate = verdicts.filter(pl.col("final_id").is_null())["seq"]
    final = verdicts.filter(pl.col("final_id").is_not_null())
    return (
        rows.filter(~pl.col("seq").is_in(duplicate.implode()))
        .join(final, on="seq", how="left", maintain_order="left")
        .with_columns(pl.coalesce("final_id", "event_id").alias("event_id"))
        .drop("final_id")
    )


def _note(report: Report, event_type: str, rows: int, occurred_at: pl.Series) -> None:
    report.new += rows
    report.new_by_type[event_type] = report.new_by_type.get(event_type, 0) + rows
    found = [occurred_at.min(), occurred_at.max()]
    report.first_occurred_at = _extreme(min, report.first_occurred_at, found[0])
    report.last_occurred_at = _extreme(max, report.last_occurred_at, found[1])


def _extreme(choose: Callable[..., datetime], one: datetime | None, other: Any) -> datetime:
    return other if one is None else choose(one, other)
