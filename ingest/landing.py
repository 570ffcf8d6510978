"""Moves committed events into the lake, exactly once, whatever is killed when.

A range of sequence numbers is first written to the ledger as planned; its files are written and
made durable; then one transaction enters the files and marks the range landed. After a crash a
planned range is written again with the same bounds, over the same files. One process lands at a
time: the lock belongs to the process, not to a clock.

Run as `python -m ingest.landing` it is the receiver's child: it lands every interval, at once on a
byte from its standard input, and when that closes (the receiver ended, however) it lands the rest,
if need be after waiting for a compaction or an erasure that has the lock.

Source: design.md decision 2; quality.md "Durability rules" 6 and 8.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import apsw
import polars as pl

from ingest.contract import FILE_COLUMNS
from ingest.errors import LandingError, LedgerError
from ingest.lake import FILE_SCHEMA, WrittenFile, write_range
from ingest.ledger import LANDED_UNTIL, describe, open_ledger, single_integer, transaction
from ingest.logs import configure_logging, log
from ingest.paths import DataDir, keep_files_private

LANDING_BYTES_MAX: Final = 64 * 1024 * 1024
WAIT_SECONDS_MAX: Final = 3.0
POLL_SECONDS: Final = 0.02
_DATES: Final = ("start_date", "end_date", "renewal_date", "due_date")
_ROW_COLUMNS: Final = ("event_type", *FILE_COLUMNS)
_SELECT: Final = (
    f"select {', '.join(_ROW_COLUMNS)} from inbox where seq between ? and ? order by seq"
)
_RAW_SCHEMA: Final[dict[str, Any]] = {
    name: pl.Int64 if name in ("seq", "occurred_at", "received_at", "auto_renew") else pl.String
    for name in _ROW_COLUMNS
}


class Wanted(Protocol):
    """What landing has to know; `Settings` says it."""

    @property
    def paths(self) -> DataDir: ...
    @property
    def land_rows_max(self) -> int: ...


@dataclass(frozen=True)
class _Given:
    """The parent's settings, checked there; to load them again would cost 12 MiB of memory."""

    data_dir: str
    land_interval_seconds: float
    land_rows_max: int
    log_level: str

    @property
    def paths(self) -> DataDir:
        return DataDir(Path(self.data_dir))


@dataclass(frozen=True)
class LandingReport:
    """events, files: what this call landed. is_complete: nothing pending at the call is left."""

    events: int
    files: int
    is_complete: bool


def land_now(settings: Wanted) -> LandingReport:
    """Land all that is pending; beside a running receiver wait for its next landing (3 s at most).

    Raises: LedgerError, LandingError.
    """
    paths = settings.paths
    if not paths.ledger.exists():
        return LandingReport(0, 0, is_complete=True)
    connection = open_ledger(paths.ledger)
    try:
        target = _last_committed(connection)
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            with landing_lock(paths) as is_held:
                if is_held:
                    events, files = _land_until(connection, settings, target)
                    return LandingReport(events, files, is_complete=True)
            if _landed_until(connection) >= target:
                return LandingReport(0, 0, is_complete=True)
            if time.monotonic() > deadline:
                return LandingReport(0, 0, is_complete=False)
            time.sleep(POLL_SECONDS)
    except apsw.Error as error:
        raise LedgerError(f"landing events from {paths.ledger}: {describe(error)}") from error
    finally:
        connection.close()


def land_all(connection: apsw.Connection, settings: Wanted) -> None:
    """Land all that is pending, ranges planned before a crash included.

    The caller holds the landing lock. Raises: LandingError, apsw.Error.
    """
    _land_until(connection, settings, _last_committed(connection))


@contextmanager
def landing_lock(paths: DataDir) -> Iterator[bool]:
    """Whether this process may land until the block ends; it never waits."""
    descriptor = os.open(paths.landing_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def pending_since(connection: apsw.Connection) -> int | None:
    """received_at (microseconds) of the oldest event that is not landed; None: none waits."""
    row = connection.execute(
        "select received_at from inbox where seq > ? order by seq limit 1",
        (_landed_until(connection),),
    ).fetchone()
    return None if row is None else int(row[0])


def enter_files(
    connection: apsw.Connection, files: list[WrittenFile], *, batch_id: str | None = None
) -> None:
    """Add durable files to the catalogue, within the caller's transaction; idempotent."""
    now = time.time_ns() // 1_000
    connection.executemany(
        "insert into files (path, event_type, event_month, node, first_seq, last_seq, rows, bytes,"
        " sha256, batch_id, added_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " on conflict (path) do nothing",
        (
            (
                file.path,
                file.event_type,
                file.event_month,
                file.node,
                file.first_seq,
                file.last_seq,
                file.rows,
                file.bytes,
                file.sha256,
                batch_id,
                now,
            )
            for file in files
        ),
    )


def _last_committed(connection: apsw.Connection) -> int:
    return single_integer(connection, "select coalesce(max(seq), 0) from inbox")


def _landed_until(connection: apsw.Connection) -> int:
    return single_integer(connection, f"select {LANDED_UNTIL}")


def _land_until(connection: apsw.Connection, settings: Wanted, target: int) -> tuple[int, int]:
    """Land up to sequence number `target` at least; what arrives meanwhile would never let it end.

    Returns how many events and files that were.
    """
    events = files = 0
    while _landed_until(connection) < target:
        planned = _planned_range(connection, settings.land_rows_max)
        if planned is None:
            break
        first, last = planned
        rows = _rows_between(connection, first, last)
        written: list[WrittenFile] = []
        for node in rows["node"].unique().sort().to_list():
            written += write_range(
                settings.paths,
                rows.filter(pl.col("node") == node),
                node=node,
                first_seq=first,
                last_seq=last,
            )
        with transaction(connection):
            enter_files(connection, written)
            connection.execute(
                "update landings set status = 'landed', landed_at = ?, rows = ?"
                " where first_seq = ?",
                (time.time_ns() // 1_000, rows.height, first),
            )
        events += rows.height
        files += len(written)
    return events, files


def _planned_range(connection: apsw.Connection, rows_max: int) -> tuple[int, int] | None:
    """A range that was planned before a crash, else a new one; None when nothing is pending."""
    landed_until = _landed_until(connection)
    planned = connection.execute(
        "select first_seq, last_seq from landings where status = 'planned' and first_seq > ?"
        " order by first_seq limit 1",
        (landed_until,),
    ).fetchone()
    if planned is not None:
        return int(planned[0]), int(planned[1])
    first = last = None
    size = 0
    for seq, payload_bytes in connection.execute(
        "select seq, octet_length(payload) from inbox where seq > ? order by seq limit ?",
        (landed_until, rows_max),
    ):
        first, last = first or seq, seq
        size += payload_bytes
        if size >= LANDING_BYTES_MAX:
            break
    if first is None or last is None:
        return None
    with transaction(connection):
        connection.execute(
            "insert into landings (first_seq, last_seq, status, planned_at)"
            " values (?, ?, 'planned', ?)",
            (first, last, time.time_ns() // 1_000),
        )
    return first, last


def _rows_between(connection: apsw.Connection, first: int, last: int) -> pl.DataFrame:
    rows = connection.execute(_SELECT, (first, last)).fetchall()
    raw = pl.DataFrame(rows, schema=_RAW_SCHEMA, orient="row")
    return raw.with_columns(
        pl.col("occurred_at", "received_at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        pl.col("auto_renew").cast(pl.Boolean),
        pl.col("amount").str.to_decimal(scale=2).cast(FILE_SCHEMA["amount"]),
        pl.col(_DATES).str.to_date("%Y-%m-%d"),
    ).with_columns(pl.col("occurred_at").dt.strftime("%Y-%m").alias("event_month"))


def _work(settings: _Given) -> int:
    """The receiver's child: land until standard input closes, then land the rest."""
    logger = log("landing")
    paths = settings.paths
    connection: apsw.Connection | None = None
    is_open = True
    while True:
        if is_open:
            is_open = _wait_for_parent(settings.land_interval_seconds)
            deadline = time.monotonic() + WAIT_SECONDS_MAX
        try:
            connection = connection or open_ledger(paths.ledger)
            is_done = _land_if_free(connection, settings)
            while not (is_open or is_done) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                is_done = _land_if_free(connection, settings)
        except (LandingError, LedgerError, apsw.Error, pl.exceptions.PolarsError) as error:
            text = describe(error) if isinstance(error, apsw.Error) else str(error)
            logger.error("landing_failed", error=text, will_retry=is_open)
            if connection is not None:  # a failed sync is never tried again on its handle
                with suppress(apsw.Error):
                    connection.close()
                connection = None
            if not is_open:
                return 1
        if not is_open:
            if connection is not None:
                connection.close()
            return 0 if is_done else 1


def _land_if_free(connection: apsw.Connection, settings: _Given) -> bool:
    """Land what is pending unless another process has the lock; whether nothing of it is left."""
    with landing_lock(settings.paths) as is_held:
        target = _last_committed(connection)
        first_seq = _landed_until(connection) + 1
        if not is_held:
            return first_seq > target
        started = time.perf_counter()
        events, files = _land_until(connection, settings, target)
        if events:
            log("landing").info(
                "landed",
                first_seq=first_seq,
                last_seq=_landed_until(connection),
                events=events,
                files=files,
                seconds=round(time.perf_counter() - started, 4),
            )
    return True


def _wait_for_parent(seconds: float) -> bool:
    """Wait for the interval or a byte; False once the parent's end of the pipe is closed."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return not readable or bool(os.read(sys.stdin.fileno(), 4096))


def main(arguments: list[str]) -> int:
    """`arguments`: the settings as JSON, without secrets."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    keep_files_private()
    settings = _Given(**json.loads(arguments[0]))
    configure_logging(settings.log_level)
    return _work(settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
