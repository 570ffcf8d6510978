"""`hooklake backfill --list` and `--undo ID`: what was loaded, and one load taken back.

Files of one batch are only ever merged with each other, so its rows leave the lake in one ledger
transaction: its files are replaced by nothing, its open quarantined lines go, and the counters with
them. The files themselves are removed as merged ones are, when no published version names them; the
next refresh reads the lake anew. What somebody replayed out of the quarantine stays.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import apsw
from rich.console import Console

from ingest.errors import LedgerError, RefusedError, UsageError
from ingest.ledger import count, describe, open_ledger, open_read_only, transaction
from ingest.settings import Settings
from ingest.wording import number_of
from warehouse.batches import backfill_lock
from warehouse.locks import held

REWRITE_WAIT_SECONDS_MAX: Final = 60.0


class LakeBusyError(RefusedError):
    """Lake files are being rewritten just now."""

    code = "compaction_running"


@dataclass(frozen=True)
class Batch:
    """One load. Instants: RFC 3339. events, quarantined: rows that are still there."""

    batch_id: str
    status: str
    started_at: str
    finished_at: str | None
    files: list[str]
    read: int | None
    new: int | None
    duplicate: int | None
    events: int
    quarantined: int


@dataclass(frozen=True)
class Undone:
    """What left: rows of the lake, files they were in, and lines of the quarantine."""

    batch_id: str
    events: int
    files: int
    quarantined: int


_LIST: Final = """
    select batch_id, status, started_at, finished_at, source, report,
        (select coalesce(sum(rows), 0) from files
            where files.batch_id = batches.batch_id and files.status = 'live'),
        (select count(*) from quarantine where quarantine.batch_id = batches.batch_id
            and origin = 'backfill' and quarantine.status = 'open')
    from batches order by started_at desc, batch_id desc
"""


def batches(connection: apsw.Connection) -> list[Batch]:
    """Every load that was ever begun, newest first."""
    return [_batch(row) for row in connection.execute(_LIST)]


def run_list(settings: Settings, *, as_json: bool) -> int:
    """Print every load, newest first; 0. Raises: UsageError."""
    settings.paths.must_exist()
    found: list[Batch] = []
    if settings.paths.ledger.exists():
        with open_read_only(settings.paths.ledger) as connection:
            found = batches(connection)
    if as_json:
        sys.stdout.write(json.dumps([asdict(batch) for batch in found]) + "\n")
        return 0
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not found:
        console.print("nothing was backfilled yet")
        return 0
    for batch in found:
        files = ", ".join(batch.files[:2]) + (" …" if len(batch.files) > 2 else "")
        console.print(
            f"{batch.batch_id:<26} {batch.status:<8} {batch.started_at}"
            f" {number_of(batch.events, 'event'):>19} {batch.quarantined:>9,} quarantined  {files}"
        )
    return 0


def run_undo(settings: Settings, batch_id: str, *, as_json: bool) -> int:
    """Take one load back and print what left; 0, also where it was undone before.

    Raises: UsageError for an id that is none, BackfillRunningError, LakeBusyError, LedgerError.
    """
    undone = undo(settings, batch_id)
    if as_json:
        sys.stdout.write(json.dumps(asdict(undone)) + "\n")
        return 0
    Console(highlight=False, markup=False, soft_wrap=True).print(
        f"{undone.batch_id} is undone: {number_of(undone.events, 'event')} left the lake"
        f" and {number_of(undone.quarantined, 'line')} the quarantine;"
        " the next refresh leaves them out"
    )
    return 0


def undo(settings: Settings, batch_id: str) -> Undone:
    """Take one load back: all of it, or nothing where this is killed."""
    paths = settings.paths
    if not paths.ledger.exists():
        raise _unknown(batch_id)
    connection = open_ledger(paths.ledger)
    try:
        with (
            backfill_lock(paths),
            held(paths.rewrite_lock, wait_seconds=REWRITE_WAIT_SECONDS_MAX) as is_alone,
        ):
            if not is_alone:
                raise LakeBusyError(
                    f"lake files of {paths.root} are being rewritten; undo it again afterwards"
                )
            return _undo(connection, batch_id)
    except apsw.Error as error:
        raise LedgerError(f"undoing {batch_id}: {describe(error)}") from error
    finally:
        connection.close()


def _undo(connection: apsw.Connection, batch_id: str) -> Undone:
    now = time.time_ns() // 1_000
    with transaction(connection):
        row = connection.execute(
            "select status, report from batches where batch_id = ?", (batch_id,)
        ).fetchone()
        if row is None:
            raise _unknown(batch_id)
        status, report = row
        if status == "planned":
            raise UsageError(
                f"{batch_id} was never finished, so nothing of it is in the lake; the next"
                " backfill finishes it or clears it away"
            )
        entered: list[int] = [
            int(str(rows))
            for (rows,) in connection.execute(
                "select rows from files where batch_id = ? and status = 'live'", (batch_id,)
            )
        ]
        events = sum(entered)
        connection.execute(
            "update files set status = 'replaced', replaced_at = ?"
            " where batch_id = ? and status = 'live'",
            (now, batch_id),
        )
        connection.execute(
            "delete from quarantine where batch_id = ? and origin = 'backfill' and status = 'open'",
            (batch_id,),
        )
        quarantined = connection.changes()
        told: dict[str, Any] = json.loads(report) if report and status == "landed" else {}
        duplicates = int(told.get("duplicate", 0))
        count(
            connection,
            {
                "deliveries": -(events + quarantined + duplicates),
                "events": -events,
                "quarantined": -quarantined,
                "duplicates": -duplicates,
                "ids_reused": -int(told.get("renamed", 0)),
            },
        )
        connection.execute(
            "update batches set status = 'undone', finished_at = ? where batch_id = ?",
            (now, batch_id),
        )
    return Undone(batch_id, events, len(entered), quarantined)


def _unknown(batch_id: str) -> UsageError:
    return UsageError(
        f"there is no backfill {batch_id!r}; `hooklake backfill --list` shows them all"
    )


def _batch(row: tuple[Any, ...]) -> Batch:
    batch_id, status, started_at, finished_at, source, report, events, quarantined = row
    told: dict[str, Any] = json.loads(report) if report else {}
    return Batch(
        batch_id,
        status,
        _instant(started_at),
        None if finished_at is None else _instant(finished_at),
        [str(file["path"]) for file in json.loads(source)],
        told.get("read"),
        told.get("new"),
        told.get("duplicate"),
        int(events),
        int(quarantined),
    )


def _instant(microseconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(microseconds / 1_000_000))
