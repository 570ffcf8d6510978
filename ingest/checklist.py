"""`hooklake checklist`: what this installation has really seen, proved, of all it should be tested
with: each of the six events, and the edge cases of the sender's lesson.

Read from the ledger, which holds at least the last 30 days. An event counts when its sender proved
itself; what came while HOOKLAKE_VERIFY believed everybody does not.
Source: seed.txt, "Testing Each Event" and "Best Practices"; events.md, "The sender".
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import apsw
from rich.console import Console

from ingest.contract import EVENT_TYPES
from ingest.ledger import open_read_only
from ingest.settings import Settings
from ingest.since import rfc3339

EVENTS: Final = "Events"
EDGE_CASES: Final = "Edge cases"
NOTICES: Final = 3

_PROVED: Final = "verified_by not like 'none:%' and origin <> 'backfill'"
_EVENTS: Final = f"""
select event_type, count(*), max(received_at) from inbox where {_PROVED} group by 1"""
_DUPLICATES: Final = f"select count(*), max(received_at) from duplicates where {_PROVED}"
_SEVERAL_WORKSPACES: Final = f"""
select count(*), max(last_at) from (
    select max(received_at) as last_at from inbox
    where event_type = 'workspace_created' and account_id is not null and {_PROVED}
    group by account_id having count(distinct workspace_id) > 1)"""
_TO_FREE: Final = f"""
select count(*), max(received_at) from inbox
where event_type = 'plan_changed' and plan_id = 'free' and start_date is null and end_date is null
    and coalesce(auto_renew, 0) = 0 and {_PROVED}"""
# The plan and the end of the period it was in, of the same subscription right before.
_TURNS: Final = f"""
with told as (
    select event_type, plan_id, received_at, date(occurred_at / 1000000, 'unixepoch') as day,
        max(plan_id) over before as plan_before, max(end_date) over before as end_before
    from inbox
    where event_type in ('plan_changed', 'plan_renewed') and account_id is not null and {_PROVED}
    window before as (
        partition by account_id, workspace_id order by occurred_at, seq
        rows between 1 preceding and 1 preceding)),
turns as (
    select received_at,
        case
            when event_type = 'plan_changed' and plan_id = 'free' and end_before > day
                and coalesce(plan_before, '') not in ('free', 'trial') then 'cancellation'
            when event_type = 'plan_renewed' and plan_before not in ('free', 'trial')
                and coalesce(plan_id, plan_before) = plan_before then 'renewal'
        end as turn
    from told)
select turn, count(*), max(received_at) from turns where turn is not null group by 1"""
_NOTICES: Final = f"""
select count(*), max(last_at) from (
    select max(received_at) as last_at from inbox
    where event_type = 'overdue_payment' and account_id is not null and {_PROVED}
    group by account_id, workspace_id, coalesce(due_date, payment_id)
    having count(distinct date(occurred_at / 1000000, 'unixepoch')) >= {NOTICES})"""

Found = dict[str, tuple[int, int | None]]
"""By an item's key: how often, and when last; a key may be left out."""
Look = Callable[[apsw.Connection], Found]


@dataclass(frozen=True)
class Item:
    """One row: how often it was seen, when last (microseconds), and the command that tests it."""

    key: str
    group: str
    title: str
    meaning: str
    command: str
    count: int
    last_at: int | None

    @property
    def is_seen(self) -> bool:
        return self.count > 0


@dataclass(frozen=True)
class _Check:
    key: str
    title: str
    meaning: str
    command: str
    group: str = EDGE_CASES


def run(settings: Settings, *, as_json: bool = False) -> int:
    """Print the checklist; 0 when all of it was seen, else 1. Raises: LedgerError."""
    with open_read_only(settings.paths.ledger) as connection:
        items = list(checklist(connection))
    seen = sum(item.is_seen for item in items)
    if as_json:
        found = {"seen": seen, "of": len(items), "items": [_as_dict(item) for item in items]}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        _show(Console(highlight=False, markup=False, soft_wrap=True), items, seen)
    return 0 if seen == len(items) else 1


def checklist(connection: apsw.Connection) -> Iterator[Item]:
    """Every row, in the order in which one tests them."""
    found: Found = {}
    for look in _LOOKS:
        found |= look(connection)
    for check in CHECKS:
        count, last_at = found.get(check.key, (0, None))
        yield Item(
            check.key, check.group, check.title, check.meaning, check.command, count, last_at
        )


def command_of(item: Item, data_dir: str | None = None) -> str:
    """The item's command, for an installation in that directory."""
    return item.command + (f" --data-dir {shlex.quote(data_dir)}" if data_dir else "")


def _of_event(event_type: str) -> _Check:
    words = event_type.replace("_", " ")
    return _Check(
        event_type,
        words[0].upper() + words[1:],
        f"at least one proved {event_type}",
        f"hooklake trigger {event_type}",
        EVENTS,
    )


def _keyed(statement: str) -> Look:
    """The statement's rows are keys of items, with their number and last receipt."""

    def look(connection: apsw.Connection) -> Found:
        rows: list[tuple[Any, ...]] = connection.execute(statement).fetchall()
        return {key: (count, last_at) for key, count, last_at in rows}

    return look


def _one(key: str, statement: str) -> Look:
    """The statement's only row is the number and last receipt of one item."""

    def look(connection: apsw.Connection) -> Found:
        rows: list[tuple[Any, ...]] = connection.execute(statement).fetchall()
        return {key: (rows[0][0], rows[0][1])}

    return look


def _refusals(connection: apsw.Connection) -> Found:
    """Refused requests by what was wrong: each has one reason for each accepted scheme."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "select reason, received_at from rejections"
    ).fetchall()
    instants: dict[str, list[int]] = {"signature_missing": [], "signature_wrong": []}
    for reason, received_at in rows:
        reasons = set(reason.split("+"))
        if reasons <= _MISSING:
            instants["signature_missing"].append(received_at)
        if reasons & _WRONG:
            instants["signature_wrong"].append(received_at)
    return {key: (len(found), max(found, default=None)) for key, found in instants.items()}


_MISSING: Final = {"missing_header", "missing_token"}
_WRONG: Final = {"wrong_signature", "unknown_token"}
_LOOKS: Final[tuple[Look, ...]] = (
    _keyed(_EVENTS),
    _keyed(_TURNS),
    _one("several_workspaces", _SEVERAL_WORKSPACES),
    _one("downgrade_to_free", _TO_FREE),
    _one("three_notices", _NOTICES),
    _one("duplicate", _DUPLICATES),
    _refusals,
)

CHECKS: Final = (
    *map(_of_event, EVENT_TYPES),
    _Check(
        "several_workspaces",
        "Several workspaces",
        "one owner has created two workspaces or more",
        "hooklake simulate several_workspaces",
    ),
    _Check(
        "downgrade_to_free",
        "Downgrade to free, without dates",
        "a plan_changed to free with auto-renew off and no billing cycle",
        "hooklake trigger plan_changed --set plan_id=free --set auto_renew=false"
        " --remove start_date --remove end_date",
    ),
    _Check(
        "cancellation",
        "Cancellation",
        "a paid plan went to free before the period it was paid for had ended",
        "hooklake simulate cancel",
    ),
    _Check(
        "renewal",
        "Renewal",
        "a paid plan was renewed that an earlier event had begun",
        "hooklake simulate renewals",
    ),
    _Check(
        "three_notices",
        "Three overdue notices",
        "one overdue payment was told of on three different days",
        "hooklake simulate three_overdue_notices",
    ),
    _Check(
        "duplicate",
        "Retry of the same event",
        "a delivery came again and was answered duplicate",
        "hooklake trigger plan_changed --count 2 --set event_id=retry-$(date +%s)",
    ),
    _Check(
        "signature_missing",
        "Signature missing",
        "a request without any proof was rejected",
        "hooklake trigger plan_changed --scheme none",
    ),
    _Check(
        "signature_wrong",
        "Signature wrong",
        "a request proved with a secret or token that is not ours was rejected",
        "hooklake trigger plan_changed --forged",
    ),
)


def _as_dict(item: Item) -> dict[str, Any]:
    return {
        "key": item.key,
        "group": item.group,
        "title": item.title,
        "meaning": item.meaning,
        "seen": item.is_seen,
        "count": item.count,
        "last_at": None if item.last_at is None else rfc3339(item.last_at),
        "command": item.command,
    }


def _show(console: Console, items: list[Item], seen: int) -> None:
    group = ""
    for item in items:
        if item.group != group:
            group = item.group
            console.print(group, style="bold")
        if item.last_at is not None:
            when = f"{rfc3339(item.last_at)[:19]}Z"
            console.print(f"  ✓ {item.title:<34}", style="green", end="")
            console.print(f"{item.count:>8,} times, last {when}")
        else:
            console.print(f"  · {item.title:<34}     not yet  {item.command}")
    console.print(f"{seen} of {len(items)} seen and proved")
