"""Writes what exports say into finished lake files, aside, in bounded memory.

Rows wait in memory by partition until there are enough of them for a file; the files lie in the
batch's staging folder, durable and compressed once, so that a batch without duplicates is entered
by renaming them. What novelty.py compares goes into files of its own.
"""

from __future__ import annotations

import shutil
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final

import duckdb
import polars as pl

from ingest.errors import DiskFullError
from ingest.lake import FILE_SCHEMA, write_synced
from ingest.settings import Settings
from warehouse.batches import Batch
from warehouse.novelty import note_keys

ROWS_OF_A_FILE: Final = 250_000
BUFFERED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Text of the rows that may wait in memory; then all are written. To keep the few of a
partition for a fuller file was tried: the memory that they hold on to grows with the export."""
WRITERS: Final = 2
"""Files written at a time: most of it is waiting for the disk."""
COMPRESSION_LEVEL: Final = 1
"""Quick: compaction packs large files again, at leisure."""
FREE_SPACE_FACTOR: Final = 2
"""Backfill stops at twice the free space that the receiver wants, so that intake goes on."""
Partition = tuple[str, str]


@dataclass(frozen=True)
class StagedFile:
    """A finished lake file outside the lake. Its number is its place among the batch's files."""

    number: int
    path: Path
    event_type: str
    event_month: str
    first_seq: int
    last_seq: int
    rows: int
    bytes: int
    sha256: str
    first_occurred_at: datetime
    last_occurred_at: datetime


class Stager(AbstractContextManager["Stager"]):
    """Takes rows by rising seq; `files` and `keys` have everything once `finish` was called."""

    def __init__(
        self,
        settings: Settings,
        batch: Batch,
        folder: Path,
        database: duckdb.DuckDBPyConnection,
    ) -> None:
        self.files: list[StagedFile] = []
        self.keys: list[Path] = []
        self._settings = settings
        self._batch = batch
        self._folder = folder
        self._database = database
        self._waiting: dict[Partition, list[pl.DataFrame]] = {}
        self._buffered = 0
        self._count = 0
        self._pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="staging")
        self._writes: deque[Future[StagedFile]] = deque()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self, rows: pl.DataFrame, *, seq_of_line_0: int, size: int) -> None:
        """rows: the columns of plain_rows.STAGED; size: bytes of the text they came from."""
        if rows.is_empty():
            return
        stored = self._stored(rows, seq_of_line_0)
        self._buffered += size
        full = []
        for key, part in stored.partition_by(
            "event_type", "year_month", as_dict=True, maintain_order=True
        ).items():
            partition = (str(key[0]), f"{key[1] // 100:04d}-{key[1] % 100:02d}")
            parts = self._waiting.setdefault(partition, [])
            parts.append(part)
            if sum(each.height for each in parts) >= ROWS_OF_A_FILE:
                full.append(partition)
        if full:
            self._flush(full)
        if self._buffered >= BUFFERED_BYTES_MAX:
            self._flush(list(self._waiting))

    def finish(self) -> list[StagedFile]:
        """Write what still waits; all files."""
        self._flush(list(self._waiting))
        while self._writes:
            self._settle_one()
        return self.files

    def _stored(self, rows: pl.DataFrame, seq_of_line_0: int) -> pl.DataFrame:
        instant = pl.Datetime("us", "UTC")
        received_at = pl.col("own_received_at").fill_null(self._batch.started_at)
        return rows.with_columns(
            (pl.col("line") + seq_of_line_0).alias("seq"),
            pl.col("occurred_at").cast(instant),
            received_at.cast(instant).alias("received_at"),
            pl.lit("backfill").alias("origin"),
            pl.lit(self._batch.batch_id).alias("batch_id"),
            pl.lit(self._settings.node).alias("node"),
        ).with_columns(
            (
                pl.col("occurred_at").dt.year() * 100
                + pl.col("occurred_at").dt.month().cast(pl.Int32)
            ).alias("year_month")
        )

    def _flush(self, partitions: list[Partition]) -> None:
        check_space(self._settings)
        noted = []
        for partition in sorted(partitions):
            part = pl.concat(self._waiting.pop(partition))
            noted.append(
                part.select(
                    "event_id", "seq", "stated", "digest", pl.lit(self._count).alias("file")
                )
            )
            self._writes.append(
                self._pool.submit(
                    write_file, part.select(*FILE_SCHEMA), partition, self._count, self._folder
                )
            )
            self._count += 1
            if len(self._writes) > WRITERS:
                self._settle_one()
        if noted:
            keys = self._folder / f"keys-{len(self.keys):06}.parquet"
            note_keys(self._database, pl.concat(noted), keys)
            self.keys.append(keys)
        if not self._waiting:
            self._buffered = 0

    def _settle_one(self) -> None:
        self.files.append(self._writes.popleft().result())


def write_file(rows: pl.DataFrame, partition: Partition, number: int, folder: Path) -> StagedFile:
    """Write one partition's rows, by rising seq, as a durable lake file in `folder`."""
    path = folder / f"{number:06}.parquet"
    size, digest = write_synced(rows, path, level=COMPRESSION_LEVEL)
    first, last = rows["occurred_at"].min(), rows["occurred_at"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return StagedFile(
        number,
        path,
        *partition,
        rows["seq"][0],
        rows["seq"][-1],
        rows.height,
        size,
        digest,
        first,
        last,
    )


def check_space(settings: Settings) -> None:
    """Raises: DiskFullError where a backfill must stop so that the receiver can go on."""
    wanted = FREE_SPACE_FACTOR * settings.free_bytes_min
    free = shutil.disk_usage(settings.data_dir if settings.data_dir.exists() else ".").free
    if free < wanted:
        raise DiskFullError(
            f"loading into {settings.data_dir}: {free:,} bytes are free and a backfill stops at"
            f" {wanted:,}, so that the receiver can go on; make room and run the same command again"
        )
