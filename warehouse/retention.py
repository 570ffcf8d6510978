"""Lets go of what is older than its settings say; the lake itself is kept for good.

What the ledger holds of a delivery that is in the lake serves its duplicates, `listen` and `replay`
for some time and goes then: the published `events` are unique all the same, for a refresh compares
ids with the whole lake. Row accounting stays whole: an event that leaves the ledger is counted in
the lake, a malformed delivery that goes for good is counted as erased.

Small transactions, so that no delivery waits; what a run leaves, the next one takes. Time is that
of the newest landing where the clock is ahead of it: a clock that jumps forgets nothing.

Source: events.md "event_id" (30 days at least); quality.md "Durability rules" 7 and 9.
"""

from __future__ import annotations

import os
import time
from typing import Final

import apsw

from ingest import checklist, sightings
from ingest.ledger import count, single_integer, transaction
from ingest.paths import DataDir, fsync_directory
from ingest.settings import Settings
from ingest.sightings import DAY
from warehouse.publish import versions

ROWS_OF_A_TRANSACTION: Final = 1_000
ROWS_OF_A_RUN: Final = 200_000
PATIENCE: Final = 3_600_000_000
"""Microseconds that what has had its time waits for company: what the checklist shows is read from
all rows before any go, and that shall not happen each minute."""


def prune(connection: apsw.Connection, settings: Settings) -> dict[str, int]:
    """Delete what has had its time; how much of each. The caller holds the rewrite lock."""
    now = _now(connection)
    landed, before = 0, now - settings.ledger_keep_days * DAY
    if _is_due(connection, before - PATIENCE, now):
        landed = _landed_before(connection, before)
        checklist.remember(connection)
    pruned = {
        "events": _delete(connection, "inbox", "seq <= ?", landed),
        "duplicates": _delete(connection, "duplicates", "seq <= ?", landed),
        "replayed": _delete(connection, "quarantine", "status <> 'open' and seq <= ?", landed),
        "landings": _join_landings(connection, min(landed, _oldest(connection) - 1)),
        "rejections": _let_go_of_refused(connection, now - settings.rejections_keep_days * DAY),
        "quarantined": 0,
    }
    if settings.quarantine_keep_days:
        before = now - settings.quarantine_keep_days * DAY
        pruned["quarantined"] = _let_go_of_quarantined(connection, before)
    pruned["versions"] = drop_versions(settings.paths, settings.warehouses_keep_hours)
    return pruned


def drop_versions(paths: DataDir, keep_hours: float) -> int:
    """Delete published versions that are older and not the newest; how many.

    Who has one open keeps it until closing it.
    """
    current = paths.warehouse.resolve()
    before = time.time() - keep_hours * 3600
    dropped = 0
    for _, path in versions(paths):
        if path.resolve() != current and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
            dropped += 1
    if dropped:
        fsync_directory(paths.root)
    return dropped


def _now(connection: apsw.Connection) -> int:
    newest = single_integer(
        connection,
        "select coalesce((select landed_at from landings where status = 'landed'"
        " order by first_seq desc limit 1), 0)",
    )
    return min(time.time_ns() // 1_000, newest)


def _landed_before(connection: apsw.Connection, before: int) -> int:
    """The last number that had been landed by then; 0 for none."""
    return single_integer(
        connection,
        "select coalesce(max(last_seq), 0) from landings where status = 'landed'"
        " and landed_at <= ?",
        (before,),
    )


def _is_due(connection: apsw.Connection, before: int, now: int) -> bool:
    """Whether the first row that is left was landed by then, so that all of its age go now.

    The landings before it are one: this asks a few, and all only where a clock had jumped ahead.
    """
    oldest = _oldest(connection)
    row = connection.execute(
        "select landed_at from landings where status = 'landed' and last_seq >= ?"
        " order by first_seq limit 1",
        (oldest,),
    ).fetchone()
    if row is None or before < int(row[0]) <= now:
        return False
    return oldest <= _landed_before(connection, before)


def _oldest(connection: apsw.Connection) -> int:
    """The first number of what time alone lets go of; beyond all numbers where there is none."""
    return single_integer(
        connection,
        "select min(coalesce((select min(seq) from inbox), next),"
        " coalesce((select min(seq) from duplicates), next),"
        " coalesce((select min(seq) from quarantine where status <> 'open'), next))"
        " from sequence",
    )


def _let_go_of_refused(connection: apsw.Connection, before: int) -> int:
    """They are few: what they show is kept in the transaction in which they go."""
    with transaction(connection):
        last = single_integer(
            connection,
            "select coalesce(max(rejection_id), 0) from rejections where received_at < ?",
            (before,),
        )
        if last:
            sightings.remember(connection, sightings.of_refusals(connection, last))
        connection.execute("delete from rejections where received_at < ?", (before,))
        return connection.changes()


def _delete(connection: apsw.Connection, table: str, condition: str, bound: int) -> int:
    chosen = f"select seq from {table} where {condition} order by seq limit ?"
    deleted = 0
    while deleted < ROWS_OF_A_RUN:
        with transaction(connection):
            connection.execute(
                f"delete from {table} where seq in ({chosen})", (bound, ROWS_OF_A_TRANSACTION)
            )
            some = connection.changes()
        deleted += some
        if some < ROWS_OF_A_TRANSACTION:
            break
        os.sched_yield()
    return deleted


def _join_landings(connection: apsw.Connection, until: int) -> int:
    """Old ranges become one, for what was landed is remembered for good; how many rows fewer."""
    condition = "status = 'landed' and first_seq <= ?1 and last_seq <= ?1"
    with transaction(connection):
        row = connection.execute(
            "select count(*), min(first_seq), max(last_seq), min(planned_at), max(landed_at),"
            f" sum(rows) from landings where {condition}",
            (until,),
        ).fetchone()
        assert row is not None
        if int(row[0]) < 2:
            return 0
        connection.execute(f"delete from landings where {condition}", (until,))
        connection.execute("insert into landings values (?, ?, 'landed', ?, ?, ?)", row[1:])
    return int(row[0]) - 1


def _let_go_of_quarantined(connection: apsw.Connection, before: int) -> int:
    """Open ones. A backfilled line may say it was received years ago: its batch's start counts."""
    old = (
        "select quarantine.seq from quarantine left join batches using (batch_id)"
        " where quarantine.status = 'open'"
        " and coalesce(batches.started_at, quarantine.received_at) < ?"
        " order by quarantine.seq limit ?"
    )
    gone = 0
    while gone < ROWS_OF_A_RUN:
        with transaction(connection):
            connection.execute(
                f"delete from quarantine where seq in ({old})", (before, ROWS_OF_A_TRANSACTION)
            )
            some = connection.changes()
            count(connection, {"quarantined": -some, "erased": some})
        gone += some
        if some < ROWS_OF_A_TRANSACTION:
            break
    return gone
