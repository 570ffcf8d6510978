"""Parses the lines of exports and stages what they say, chunk after chunk, in bounded memory.

Readable lines become Parquet files with the columns of a lake row and the digest that equality is
decided by; the others go into the quarantine. No reader sees anything staged.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import polars as pl

from ingest.contract import BUSINESS_COLUMNS
from ingest.errors import DiskFullError
from ingest.lake import FILE_SCHEMA
from ingest.parse import Arrival, Event, Malformed, parse_body
from ingest.settings import Settings
from warehouse.backfill_report import OnBytes, Report
from warehouse.batches import BadRow, Batch, known_bad_lines, quarantine
from warehouse.exports import Export, Row, rows

CHUNK_ROWS: Final = 20_000
CHUNK_BYTES: Final = 16 * 1024 * 1024
BAD_ROWS_SHOWN_MAX: Final = 20
BAD_ROWS_AT_ONCE: Final = 500
FREE_SPACE_FACTOR: Final = 2
"""Backfill stops at twice the free space that the receiver wants, so that intake goes on."""

_DATES: Final = ("start_date", "end_date", "renewal_date", "due_date")
_TEXT_COLUMNS: Final = (
    "event_id",
    "event_type",
    "sender_event",
    "event_time_source",
    "delivery_id",
    "digest",
    "payload",
)
_STAGED: Final[dict[str, Any]] = {
    **dict.fromkeys((*_TEXT_COLUMNS, *BUSINESS_COLUMNS), pl.String),
    "auto_renew": pl.Boolean,
    "occurred_at": pl.Int64,
    "received_at": pl.Int64,
    "seq": pl.Int64,
}


class Keeper:
    """Puts bad rows into the quarantine, those of an earlier load excepted."""

    def __init__(
        self,
        connection: apsw.Connection | None,
        batch_id: str,
        report: Report,
        *,
        is_dry_run: bool = False,
    ) -> None:
        self._connection = connection
        self._batch_id = batch_id
        self._report = report
        self._is_dry_run = is_dry_run

    def keep(self, bad: list[BadRow]) -> None:
        """bad: rows of one file, by rising line."""
        if self._connection and bad:
            known = known_bad_lines(
                self._connection, self._batch_id, bad[0].file, bad[0].line, bad[-1].line
            )
            fresh = [row for row in bad if (row.line, row.body) not in known]
            self._report.duplicate += len(bad) - len(fresh)
            bad = fresh
        self._report.quarantined += len(bad)
        for row in bad[: max(0, BAD_ROWS_SHOWN_MAX - len(self._report.bad_rows))]:
            problems = json.loads(row.problems)
            self._report.bad_rows.append({"file": row.file, "line": row.line, "problems": problems})
        if self._connection and bad and not self._is_dry_run:
            quarantine(self._connection, self._batch_id, bad)


class Stager:
    """Parses the exports' lines and stages what they say, chunk after chunk."""

    def __init__(self, settings: Settings, batch: Batch, folder: Path, report: Report) -> None:
        self._settings = settings
        self._batch = batch
        self._folder = folder
        self._report = report
        self._staged: list[Path] = []
        self._events: list[tuple[int, Row, Event, int]] = []
        self._bad: list[BadRow] = []
        self._bytes = 0

    def stage(self, exports: Sequence[Export], keeper: Keeper, on_bytes: OnBytes) -> list[Path]:
        """Staged Parquet files of all readable rows; the others go to the keeper."""
        before = self._batch.first_seq
        for export in exports:
            for row in rows(export, self._settings.body_bytes_max):
                self._take(export, before + row.line - 1, row)
                on_bytes(len(row.body))
                if len(self._bad) >= BAD_ROWS_AT_ONCE or self._bytes >= CHUNK_BYTES:
                    self._give_bad(keeper)
                if len(self._events) >= CHUNK_ROWS or self._bytes >= CHUNK_BYTES:
                    self._stage_events()
            self._give_bad(keeper)
            before += export.lines
        self._stage_events()
        return self._staged

    def _take(self, export: Export, seq: int, row: Row) -> None:
        self._report.read += 1
        self._bytes += len(row.body)
        started_at = self._batch.started_at
        own = None if row.own_received_at is None else min(row.own_received_at, started_at)
        received_at = started_at if own is None else own
        if row.problem:
            content: Event | Malformed = Malformed((row.problem,))
        else:
            content = parse_body(
                row.body,
                Arrival(
                    stored_at=started_at,
                    origin="backfill",
                    signed_id=row.signed_id,
                    signed_at=row.signed_at,
                    own_received_at=own,
                    file_sha256=export.sha256,
                    line=row.line,
                ),
            )
        if isinstance(content, Event):
            self._events.append((seq, row, content, received_at))
            return
        self._bad.append(
            BadRow(
                seq=seq,
                received_at=received_at,
                event_type=content.event_type,
                sender_event=content.sender_event,
                delivery_id=row.signed_id,
                signed_at=row.signed_at,
                file=str(export.path),
                line=row.line,
                problems=json.dumps([problem.as_dict() for problem in content.problems]),
                body=row.body,
            )
        )

    def _give_bad(self, keeper: Keeper) -> None:
        keeper.keep(self._bad)
        self._bad = []

    def _stage_events(self) -> None:
        if self._events:
            check_space(self._settings)
            file = self._folder / f"parsed-{len(self._staged):06}.parquet"
            self._frame().write_parquet(file, compression="lz4")
            self._staged.append(file)
        self._events = []
        self._bytes = 0

    def _frame(self) -> pl.DataFrame:
        columns: dict[str, list[Any]] = {
            "seq": [seq for seq, _, _, _ in self._events],
            "received_at": [received_at for _, _, _, received_at in self._events],
            "delivery_id": [row.signed_id for _, row, _, _ in self._events],
            "payload": [row.body.decode() for _, row, _, _ in self._events],
        }
        events = [event for _, _, event, _ in self._events]
        for name in (
            "event_id",
            "event_type",
            "sender_event",
            "event_time_source",
            "occurred_at",
            "digest",
        ):
            columns[name] = [getattr(event, name) for event in events]
        for position, name in enumerate(BUSINESS_COLUMNS):
            columns[name] = [event.business[position] for event in events]
        schema = {name: _STAGED[name] for name in columns}
        return (
            pl.DataFrame(columns, schema=schema)
            .with_columns(
                pl.col("occurred_at", "received_at")
                .cast(pl.Datetime("us"))
                .dt.replace_time_zone("UTC"),
                pl.col("amount").str.to_decimal(scale=2).cast(FILE_SCHEMA["amount"]),
                pl.col(_DATES).str.to_date("%Y-%m-%d"),
                pl.lit("backfill").alias("origin"),
                pl.lit(self._batch.batch_id).alias("batch_id"),
                pl.lit(self._settings.node).alias("node"),
            )
            .with_columns(pl.col("occurred_at").dt.strftime("%Y-%m").alias("event_month"))
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
