"""A backfill in the ledger: planned before anything is written, entered in one transaction at last.

A batch owns a block of sequence numbers, one for every line of its files, so a row's number follows
from its place alone. Killed anywhere, the same files find their planned batch again and write the
very same rows; other files give it up, and what it had put into the lake is removed.
Source: design.md decision 2; quality.md "Durability rules" 6.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from ingest.errors import RefusedError
from ingest.lake import WrittenFile
from ingest.landing import enter_files
from ingest.ledger import count, count_fields, single_integer, take_sequence, transaction
from ingest.paths import DataDir, fsync_directory
from warehouse.backfill_report import Report
from warehouse.exports import Export

STAGING_PREFIX: Final = "backfill-"
_LAKE_NAME: Final = re.compile(r"([a-z0-9-]{1,32})-([0-9]+)-([0-9]+)\.parquet")
_INSERT_QUARANTINED: Final = (
    "insert or ignore into quarantine (seq, received_at, origin, event_type, sender_event,"
    " delivery_id, signed_at, verified_by, batch_id, file, line, problems, body)"
    " values (?, ?, 'backfill', ?, ?, ?, ?, '', ?, ?, ?, ?, ?)"
)


class BackfillRunningError(RefusedError):
    code = "backfill_running"


class ErasedMeanwhileError(Exception):
    """Somebody was forgotten after the rows were read: read them again."""


@dataclass(frozen=True)
class Batch:
    """started_at: microseconds UTC, the same when the batch is resumed."""

    batch_id: str
    started_at: int
    first_seq: int


@dataclass(frozen=True)
class BadRow:
    """A line that is no event: what the quarantine keeps of it."""

    seq: int
    received_at: int
    event_type: str | None
    sender_event: str | None
    delivery_id: str | None
    signed_at: int | None
    file: str
    line: int
    problems: str
    body: bytes


@contextmanager
def backfill_lock(paths: DataDir) -> Iterator[None]:
    """Only one backfill at a time; the lock ends with the process.

    Raises: BackfillRunningError.
    """
    descriptor = os.open(paths.backfill_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackfillRunningError(
                f"another backfill is loading into {paths.root}; wait for its end"
            ) from None
        yield
    finally:
        os.close(descriptor)


def plan(connection: apsw.Connection, paths: DataDir, exports: Sequence[Export]) -> Batch:
    """The batch for these files: the one a killed backfill had planned, or a new one.

    The caller holds the backfill lock.
    """
    source = json.dumps(
        [{"path": str(each.path), "sha256": each.sha256, "lines": each.lines} for each in exports]
    )
    planned: list[Any] = connection.execute(
        "select batch_id, started_at, first_seq, last_seq, source from batches"
        " where status = 'planned'"
    ).fetchall()
    found = None
    for batch_id, started_at, first_seq, last_seq, planned_source in planned:
        remove_orphans(connection, paths, int(first_seq), int(last_seq))
        if planned_source == source and found is None:
            found = Batch(batch_id, int(started_at), int(first_seq))
        else:
            with transaction(connection):
                connection.execute(
                    "update batches set status = 'undone', finished_at = ? where batch_id = ?",
                    (_now(), batch_id),
                )
    return found or _plan_new(connection, exports, source)


def _plan_new(connection: apsw.Connection, exports: Sequence[Export], source: str) -> Batch:
    lines = sum(export.lines for export in exports)
    started_at = _now()
    with transaction(connection):
        first_seq = take_sequence(connection, lines)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started_at / 1e6))
        batch_id = f"b-{stamp}-{first_seq}"
        connection.execute(
            "insert into batches (batch_id, source, status, started_at, first_seq, last_seq)"
            " values (?, ?, 'planned', ?, ?, ?)",
            (batch_id, source, started_at, first_seq, first_seq + lines - 1),
        )
    return Batch(batch_id, started_at, first_seq)


def remove_orphans(
    connection: apsw.Connection, paths: DataDir, first_seq: int, last_seq: int
) -> None:
    """Delete lake files of a block of numbers that the catalogue does not know."""
    for file in paths.lake.glob("*/*/*.parquet"):
        found = _LAKE_NAME.fullmatch(file.name)
        if not found or not first_seq <= int(found[2]) <= int(found[3]) <= last_seq:
            continue
        known = connection.execute(
            "select 1 from files where path = ?", (str(file.relative_to(paths.lake)),)
        ).fetchone()
        if not known:
            file.unlink()
            fsync_directory(file.parent)


@contextmanager
def staging_folder(paths: DataDir, batch_id: str) -> Iterator[Path]:
    """An empty folder for the batch's unfinished work, removed at the end; older ones go too."""
    paths.staging.mkdir(mode=0o700, exist_ok=True)
    for left in paths.staging.glob(f"{STAGING_PREFIX}*"):
        shutil.rmtree(left)
    folder = paths.staging / f"{STAGING_PREFIX}{batch_id}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def known_bad_lines(
    connection: apsw.Connection, batch_id: str, file: str, first_line: int, last_line: int
) -> set[tuple[int, bytes]]:
    """Lines of this file that earlier batches have put into the quarantine, with their bodies."""
    return {
        (int(line), bytes(body))
        for line, body in connection.execute(
            "select line, body from quarantine where origin = 'backfill' and file = ?"
            " and line between ? and ? and batch_id <> ?",
            (file, first_line, last_line, batch_id),
        )
    }


def quarantine(connection: apsw.Connection, batch_id: str, bad: Iterable[BadRow]) -> None:
    """Keep bad rows and count them, in one transaction; a resumed batch adds none twice."""
    added = 0
    with transaction(connection):
        for row in bad:
            connection.execute(
                _INSERT_QUARANTINED,
                (
                    row.seq,
                    row.received_at,
                    row.event_type,
                    row.sender_event,
                    row.delivery_id,
                    row.signed_at,
                    batch_id,
                    row.file,
                    row.line,
                    row.problems,
                    row.body,
                ),
            )
            added += connection.changes()
        count(connection, {"deliveries": added, "quarantined": added})


def finish(
    connection: apsw.Connection,
    batch: Batch,
    files: list[WrittenFile],
    report: Report,
    *,
    forgotten: int,
) -> None:
    """Enter the batch's files and counts and close it: one transaction, all or nothing.

    forgotten: how many tombstones its rows were held against. Raises: ErasedMeanwhileError.
    """
    with transaction(connection):
        if count_tombstones(connection) != forgotten:
            raise ErasedMeanwhileError
        enter_files(connection, files, batch_id=batch.batch_id)
        count(
            connection,
            {
                "deliveries": report.new + report.duplicate + report.erased,
                "events": report.new,
                "duplicates": report.duplicate,
                "erased": report.erased,
                "ids_reused": report.renamed,
            },
        )
        if report.new and report.fields:
            count_fields(connection, report.fields)
        connection.execute(
            "update batches set status = 'landed', finished_at = ?, report = ? where batch_id = ?",
            (_now(), json.dumps(report.as_dict()), batch.batch_id),
        )


def count_tombstones(connection: apsw.Connection) -> int:
    """How many names of forgotten people the ledger keeps hashes of."""
    return single_integer(connection, "select count(*) from tombstones")


def _now() -> int:
    return time.time_ns() // 1_000
