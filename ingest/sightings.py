"""How often each row of the checklist really came true, in what the ledger holds and ever held.

A sighting is a number of the ledger at which a row came true: that of an event, of the second
workspace of an owner, of the notice of a third day. The ledger lets go of its rows in time, so
before it does, `remember` counts them into the table `seen`: how often, the day of the last one and
the number up to which was counted. That says nothing of anybody and stays for good; whatever lies
beyond that number is counted anew each time, from the rows themselves.
Source: seed.txt, "Testing Each Event" and "Best Practices"; events.md, "The sender".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import apsw

NOTICES: Final = 3
DAY: Final = 86_400_000_000
"""In microseconds."""

_PROVED: Final = "verified_by not like 'none:%' and origin <> 'backfill'"
_EVENTS: Final = f"""
select event_type as key, seq as place, received_at as at from inbox
where event_type <> 'other' and {_PROVED}"""
_DUPLICATES: Final = f"""
select 'duplicate' as key, seq as place, received_at as at from duplicates where {_PROVED}"""
_SEVERAL_WORKSPACES: Final = f"""
select 'several_workspaces' as key, min(seq) as place, received_at as at
from (
    select seq, received_at, account_id, workspace_id,
        first_value(workspace_id) over (partition by account_id order by seq) as first_id
    from inbox
    where event_type = 'workspace_created' and account_id is not null
        and workspace_id is not null and {_PROVED})
where workspace_id <> first_id
group by account_id"""
_TO_FREE: Final = f"""
select 'downgrade_to_free' as key, seq as place, received_at as at from inbox
where event_type = 'plan_changed' and plan_id = 'free' and start_date is null and end_date is null
    and coalesce(auto_renew, 0) = 0 and {_PROVED}"""
# The plan and the end of the period it was in, of the same subscription right before.
_TURNS: Final = f"""
with told as (
    select event_type, plan_id, seq, received_at,
        date(occurred_at / 1000000, 'unixepoch') as day,
        max(plan_id) over before as plan_before, max(end_date) over before as end_before
    from inbox
    where event_type in ('plan_changed', 'plan_renewed') and account_id is not null and {_PROVED}
    window before as (
        partition by account_id, workspace_id order by occurred_at, seq
        rows between 1 preceding and 1 preceding)),
turns as (
    select seq as place, received_at as at,
        case
            when event_type = 'plan_changed' and plan_id = 'free' and end_before > day
                and coalesce(plan_before, '') not in ('free', 'trial') then 'cancellation'
            when event_type = 'plan_renewed' and plan_before not in ('free', 'trial')
                and coalesce(plan_id, plan_before) = plan_before then 'renewal'
        end as key
    from told)
select key, place, at from turns where key is not null"""
_NOTICES: Final = f"""
select 'three_notices' as key, place, at
from (
    select min(seq) as place, received_at as at,
        row_number() over (
            partition by account_id, workspace_id, payment order by min(seq)) as day_number
    from (
        select seq, received_at, account_id, workspace_id,
            coalesce(due_date, payment_id) as payment,
            date(occurred_at / 1000000, 'unixepoch') as day
        from inbox
        where event_type = 'overdue_payment' and account_id is not null and {_PROVED})
    group by account_id, workspace_id, payment, day)
where day_number = {NOTICES}"""
_OF_DELIVERIES: Final = (_EVENTS, _TURNS, _SEVERAL_WORKSPACES, _TO_FREE, _NOTICES, _DUPLICATES)

_MISSING: Final = {"missing_header", "missing_token"}
_WRONG: Final = {"wrong_signature", "unknown_token"}


@dataclass(frozen=True)
class Seen:
    """How often, when last (microseconds; a midnight where only the day is remembered), and the
    number up to which was counted: a delivery's, or for refused requests one of theirs."""

    count: int
    last_at: int
    through: int


def seen(connection: apsw.Connection) -> dict[str, Seen]:
    """By the checklist's keys, everything ever seen; a key may be left out."""
    return _remembered(connection) | of_deliveries(connection) | of_refusals(connection)


def of_deliveries(connection: apsw.Connection) -> dict[str, Seen]:
    """The same of deliveries that the ledger holds some of; reads all of them."""
    found: dict[str, Seen] = {}
    before = _remembered(connection)
    for statement in _OF_DELIVERIES:
        rows: list[Any] = connection.execute(
            "select key, sum(place > coalesce(through, 0)), max(at), max(place)"
            f" from ({statement}) left join seen using (key) group by key"
        ).fetchall()
        for key, beyond, last_at, last_place in rows:
            found[key] = _added(before.get(key), int(beyond), int(last_at), int(last_place))
    return found


def of_refusals(connection: apsw.Connection, until: int | None = None) -> dict[str, Seen]:
    """The same of refused requests that the ledger holds, up to that number."""
    found = _remembered(connection)
    known = "" if until is None else f" where rejection_id <= {until:d}"
    rows = connection.execute(
        f"select rejection_id, reason, received_at from rejections{known} order by rejection_id"
    )
    changed: dict[str, Seen] = {}
    for key, place, at in _refused(rows):
        before = changed.get(key, found.get(key))
        is_new = before is None or place > before.through
        changed[key] = _added(before, int(is_new), at, place)
    return changed


def remember(connection: apsw.Connection, found: dict[str, Seen]) -> None:
    """Keep what was found for good, to the day; within the caller's transaction."""
    connection.executemany(
        "insert or replace into seen values (?, ?, ?, ?)",
        [
            (key, each.count, each.last_at - each.last_at % DAY, each.through)
            for key, each in found.items()
        ],
    )


def _remembered(connection: apsw.Connection) -> dict[str, Seen]:
    rows: list[Any] = connection.execute("select key, count, last_at, through from seen").fetchall()
    return {key: Seen(count, last_at, through) for key, count, last_at, through in rows}


def _added(before: Seen | None, count: int, last_at: int, through: int) -> Seen:
    if before is None:
        return Seen(count, last_at, through)
    return Seen(before.count + count, max(before.last_at, last_at), max(before.through, through))


def _refused(rows: Iterable[Any]) -> Iterator[tuple[str, int, int]]:
    """Key, number and instant; a refused request has one reason for each accepted scheme."""
    for number, reason, received_at in rows:
        reasons = set(reason.split("+"))
        if reasons <= _MISSING:
            yield "signature_missing", number, received_at
        if reasons & _WRONG:
            yield "signature_wrong", number, received_at
