"""`hooklake checklist`: what this installation has really seen, proved, of all it should be tested
with: each of the six events, and the edge cases of the sender's lesson.

Read from the ledger, which remembers for good what was seen (`sightings`). An event counts when its
sender proved itself; what came while HOOKLAKE_VERIFY believed everybody does not.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import apsw
from rich.console import Console

from ingest import sightings
from ingest.contract import EVENT_TYPES
from ingest.ledger import open_read_only, transaction
from ingest.settings import Settings
from ingest.sightings import DAY
from ingest.since import rfc3339
from ingest.wording import number_of

EVENTS: Final = "Events"
EDGE_CASES: Final = "Edge cases"


@dataclass(frozen=True)
class Item:
    """One row: how often it was seen, when last (microseconds), and the command that tests it.

    last_at: a midnight where the day alone is remembered.
    """

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

    @property
    def is_last_a_day(self) -> bool:
        return self.last_at is not None and self.last_at % DAY == 0


@dataclass(frozen=True)
class _Check:
    key: str
    title: str
    meaning: str
    command: str
    group: str = EDGE_CASES


def run(settings: Settings, *, data_dir: str | None = None, as_json: bool = False) -> int:
    """Print the checklist; 0 when all of it was seen, else 1.

    data_dir: the installation as whoever asks names it, so that the commands shown reach it.
    Raises: LedgerError.
    """
    with open_read_only(settings.paths.ledger) as connection:
        items = list(checklist(connection))
    seen = sum(item.is_seen for item in items)
    if as_json:
        found = {
            "seen": seen,
            "of": len(items),
            "items": [_as_dict(item, data_dir) for item in items],
        }
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        _show(Console(highlight=False, markup=False, soft_wrap=True), items, seen, data_dir)
    return 0 if seen == len(items) else 1


def checklist(connection: apsw.Connection) -> Iterator[Item]:
    """Every row, in the order in which one tests them."""
    found = sightings.seen(connection)
    for check in CHECKS:
        seen = found.get(check.key)
        yield Item(
            check.key,
            check.group,
            check.title,
            check.meaning,
            check.command,
            0 if seen is None else seen.count,
            None if seen is None else seen.last_at,
        )


def remember(connection: apsw.Connection) -> None:
    """Keep for good what deliveries have shown, before some of them go; refused requests are kept
    as they go. The caller holds the rewrite lock: nobody else remembers meanwhile."""
    found = sightings.of_deliveries(connection)
    with transaction(connection):
        sightings.remember(connection, found)


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


def _as_dict(item: Item, data_dir: str | None) -> dict[str, Any]:
    return {
        "key": item.key,
        "group": item.group,
        "title": item.title,
        "meaning": item.meaning,
        "seen": item.is_seen,
        "count": item.count,
        "last_at": None if item.last_at is None else rfc3339(item.last_at),
        "command": command_of(item, data_dir),
    }


def _show(console: Console, items: list[Item], seen: int, data_dir: str | None) -> None:
    group = ""
    for item in items:
        if item.group != group:
            group = item.group
            console.print(group, style="bold")
        if item.last_at is not None:
            when = rfc3339(item.last_at)
            when = when[:10] if item.is_last_a_day else f"{when[:19]}Z"
            console.print(f"  ✓ {item.title:<34}", style="green", end="")
            times = number_of(item.count, "time")
            told = f"{times:>14}, last {when:<20}"
        else:
            console.print(f"  · {item.title:<34}", end="")
            told = f"{'':>8} not yet{'':>24}"
        console.print(f"{told}  {command_of(item, data_dir)}")
    console.print(f"{seen} of {len(items)} seen and proved")
