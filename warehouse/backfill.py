"""`hooklake backfill PATH…`: exported history into the lake, once, however often it is loaded.

examine the files -> plan a batch in the ledger -> parse every line into staged Parquet, bad ones
into the quarantine -> compare with the whole lake as sets -> write what is new into lake files ->
one ledger transaction enters them. Until that last step no reader sees anything of it; killed
before, the same command finishes the work.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import apsw
import duckdb
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ingest.catalogue import live_files
from ingest.contract import BUSINESS_COLUMNS
from ingest.errors import DiskFullError, LedgerError, StorageError
from ingest.lake import FILE_SCHEMA, WrittenFile, write_range
from ingest.ledger import describe, open_ledger, open_read_only
from ingest.parse import Arrival, Event, Malformed, parse_body
from ingest.paths import keep_files_private
from ingest.settings import Settings
from warehouse.batches import (
    BadRow,
    Batch,
    backfill_lock,
    finish,
    known_bad_lines,
    plan,
    quarantine,
    staging_folder,
)
from warehouse.exports import Export, Row, examine, rows
from warehouse.novelty import Findings, compare, fresh_slices, workspace

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

OnBytes = Callable[[int], None]
OnStage = Callable[[str], None]


@dataclass
class Report:
    """What a backfill did. `quarantined`: bad rows kept now; those kept before are duplicates."""

    read: int = 0
    new: int = 0
    duplicate: int = 0
    quarantined: int = 0
    renamed: int = 0
    first_occurred_at: datetime | None = None
    last_occurred_at: datetime | None = None
    new_by_type: dict[str, int] = field(default_factory=dict)
    bad_rows: list[dict[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    batch_id: str | None = None
    is_dry_run: bool = False
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; instants as RFC 3339."""
        return {
            **self.__dict__,
            "first_occurred_at": _rfc3339(self.first_occurred_at),
            "last_occurred_at": _rfc3339(self.last_occurred_at),
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.read / self.seconds, 1) if self.seconds else None,
        }


def run(
    settings: Settings, paths: Sequence[Path], *, dry_run: bool = False, as_json: bool = False
) -> int:
    """Load the files and print the report; 0 when every row is in the lake or the quarantine.

    Raises: ExportError for a path that is no NDJSON, BackfillRunningError, StorageError.
    """
    began = time.monotonic()
    keep_files_private()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        with _progress(is_shown=not as_json) as (on_bytes, on_stage):
            on_stage("reading")
            exports = examine(paths, on_bytes)
            on_stage("parsing")
            if dry_run:
                report = _rehearse(settings, exports, on_bytes, on_stage)
            else:
                report = _load(settings, exports, on_bytes, on_stage)
    except apsw.Error as error:
        raise LedgerError(f"writing the backfill's batch: {describe(error)}") from error
    except (duckdb.Error, pl.exceptions.PolarsError) as error:
        raise StorageError(f"comparing the backfill with the lake: {error}") from error
    except OSError as error:
        raise StorageError(
            f"loading into {settings.data_dir}: {error.strerror or error}; nothing of it is visible"
            " yet, run the same command again"
        ) from error
    report.seconds = time.monotonic() - began
    if as_json:
        sys.stdout.write(json.dumps(report.as_dict()) + "\n")
    else:
        _show(console, report)
    return 0


def _load(
    settings: Settings, exports: Sequence[Export], on_bytes: OnBytes, on_stage: OnStage
) -> Report:
    paths = settings.paths.ensure()
    connection = open_ledger(paths.ledger)
    try:
        with backfill_lock(paths):
            _check_space(settings)
            batch = plan(connection, paths, exports)
            with staging_folder(paths, batch.batch_id) as folder:
                report = Report(files=[str(export.path) for export in exports])
                report.batch_id = batch.batch_id
                keep = _Keeper(connection, batch.batch_id, report)
                reader = _Reader(settings, batch, folder, report)
                parsed = reader.stage(exports, keep, on_bytes)
                on_stage("comparing with the lake")
                with workspace(folder) as database:
                    findings = compare(database, parsed, *_stored(settings, connection))
                    _note(report, findings)
                    on_stage("writing")
                    files = _write(settings, database) if findings.new else []
                on_stage("entering")
                amounts = {
                    "deliveries": report.new + report.duplicate,
                    "events": report.new,
                    "duplicates": report.duplicate,
                    "ids_reused": report.renamed,
                }
                finish(connection, batch, files, report.as_dict(), amounts)
                return report
    finally:
        connection.close()


def _rehearse(
    settings: Settings, exports: Sequence[Export], on_bytes: OnBytes, on_stage: OnStage
) -> Report:
    """All of `_load` but what changes anything."""
    paths = settings.paths
    batch = Batch("dry-run", time.time_ns() // 1_000, 1)
    has_ledger = paths.ledger.exists()
    place = paths.root if paths.root.is_dir() else None
    with (
        open_read_only(paths.ledger) if has_ledger else nullcontext() as connection,
        tempfile.TemporaryDirectory(prefix=".dry-run-", dir=place) as folder,
    ):
        report = Report(files=[str(export.path) for export in exports], is_dry_run=True)
        keep = _Keeper(connection, batch.batch_id, report, is_dry_run=True)
        parsed = _Reader(settings, batch, Path(folder), report).stage(exports, keep, on_bytes)
        on_stage("comparing with the lake")
        with workspace(Path(folder)) as database:
            _note(report, compare(database, parsed, *_stored(settings, connection)))
    return report


class _Keeper:
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


class _Reader:
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

    def stage(self, exports: Sequence[Export], keeper: _Keeper, on_bytes: OnBytes) -> list[Path]:
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

    def _give_bad(self, keeper: _Keeper) -> None:
        keeper.keep(self._bad)
        self._bad = []

    def _stage_events(self) -> None:
        if self._events:
            _check_space(self._settings)
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


def _stored(
    settings: Settings, connection: apsw.Connection | None
) -> tuple[list[Path], list[tuple[str, str]]]:
    """The lake's files, and (event_id, digest) of what waits to be landed.

    The waiting ones are read first: what lands in between is then in a file as well.
    """
    if connection is None:
        return [], []
    waiting = connection.execute(
        "select event_id, digest from inbox where seq > (select coalesce(max(last_seq), 0)"
        " from landings where status = 'landed')"
    ).fetchall()
    files = live_files(settings.paths.ledger)
    return [settings.paths.lake / file.path for file in files], [
        (str(event_id), str(digest)) for event_id, digest in waiting
    ]


def _write(settings: Settings, database: duckdb.DuckDBPyConnection) -> list[WrittenFile]:
    written: list[WrittenFile] = []
    for part in fresh_slices(database):
        _check_space(settings)
        first, last = part["seq"][0], part["seq"][-1]
        written += write_range(
            settings.paths, part, node=settings.node, first_seq=first, last_seq=last
        )
    return written


def _note(report: Report, findings: Findings) -> None:
    report.new = findings.new
    report.duplicate += findings.duplicate
    report.renamed = findings.renamed
    report.first_occurred_at = findings.first_occurred_at
    report.last_occurred_at = findings.last_occurred_at
    report.new_by_type = findings.new_by_type


def _check_space(settings: Settings) -> None:
    wanted = FREE_SPACE_FACTOR * settings.free_bytes_min
    free = shutil.disk_usage(settings.data_dir if settings.data_dir.exists() else ".").free
    if free < wanted:
        raise DiskFullError(
            f"loading into {settings.data_dir}: {free:,} bytes are free and a backfill stops at"
            f" {wanted:,}, so that the receiver can go on; make room and run the same command again"
        )


def _rfc3339(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _show(console: Console, report: Report) -> None:
    if report.is_dry_run:
        console.print("dry run: nothing was changed")
    else:
        console.print(f"batch {report.batch_id}")
    for name, amount in (
        ("read", report.read),
        ("new", report.new),
        ("duplicate", report.duplicate),
        ("quarantined", report.quarantined),
    ):
        console.print(f"  {name:<12}{amount:>12,}")
    for name, amount in report.new_by_type.items():
        console.print(f"    {name:<20}{amount:>12,} new")
    if report.first_occurred_at:
        first, last = _rfc3339(report.first_occurred_at), _rfc3339(report.last_occurred_at)
        console.print(f"  from {first} to {last}")
    if report.renamed:
        console.print(
            f"  {report.renamed:,} came under an id already taken and got one of their own"
        )
    for row in report.bad_rows:
        reasons = "; ".join(
            f"{problem['field']} ({problem['code']}): {problem['message']}"
            for problem in row["problems"]
        )
        console.print(f"  {row['file']}:{row['line']}: {reasons}")
    if report.quarantined > len(report.bad_rows):
        console.print(f"  … and {report.quarantined - len(report.bad_rows):,} more")
    rate = report.read / report.seconds if report.seconds else 0
    console.print(f"in {report.seconds:.1f} s, {rate:,.0f} rows per second")


@contextmanager
def _progress(*, is_shown: bool) -> Iterator[tuple[OnBytes, OnStage]]:
    """A bar on standard error where that is a terminal: bytes read, then bytes parsed."""
    console = Console(stderr=True)
    if not is_shown or not console.is_terminal:
        yield (lambda _count: None), (lambda _stage: None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        counted = 0

        def on_bytes(amount: int) -> None:
            nonlocal counted
            counted += amount
            progress.advance(task, amount)

        def on_stage(stage: str) -> None:
            total = counted if stage == "parsing" else None
            progress.reset(task, total=total, description=stage)

        yield on_bytes, on_stage
