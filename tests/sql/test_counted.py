"""Rows of the aggregates said to count an account are those that differ where it never was."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest.lifecycles import Life, lives
from ingest.population import World
from tests.sql.made_up import deliveries
from warehouse.trace_marts import AGGREGATES, Counted, account_of, counted
from warehouse.workbench import Workbench

UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
NAMES = {
    "mart_funnel_daily": ("cohort_date", "source"),
    "mart_plan_changes_daily": (
        *("day", "source", "change_type", "from_plan_id", "to_plan_id", "cause", "currency"),
        "mrr_movement",
    ),
    "mart_mrr_daily": ("day", "currency", "source"),
    "mart_mrr_monthly": ("month", "currency"),
    "mart_retention_monthly": ("cohort_month", "currency"),
    "mart_renewals_monthly": ("month", "currency"),
    "mart_overdue_monthly": ("month", "cause", "currency"),
    "mart_overdue_ageing": ("bucket", "cause", "currency"),
}

Key = tuple[str | None, ...]
Event = dict[str, Any]


def world() -> list[tuple[Life, list[Event]]]:
    chance = random.Random(11)
    return [
        (life, [one for each in life.happenings for one in deliveries(each, chance)])
        for life in lives(World(seed=11, accounts=60, until=UNTIL, days=300))
    ]


def told(bench: Workbench, account: str, event_id: str) -> list[Counted]:
    with bench.connect() as warehouse:
        return list(counted(warehouse, event_id, account))


def keyed(bench: Workbench, table: str, names: tuple[str, ...]) -> dict[Key, Counter[str]]:
    """The mart's rows by the columns that name them."""
    found: dict[Key, Counter[str]] = defaultdict(Counter)
    for row in bench.rows(table):
        key = tuple(None if row[name] is None else str(row[name]) for name in names)
        found[key][str(row)] += 1
    return found


@pytest.mark.slow
def test_the_rows_that_count_an_account_are_those_that_its_absence_changes(
    tmp_path: Path,
) -> None:
    everybody = world()
    rich = sorted(everybody, key=lambda each: (len(each[0].truth.episodes), len(each[1])))
    owes = rich[-1][0].truth.funnel.account_id
    due = {"account_id": owes, "occurred_at": UNTIL - timedelta(days=9), "payment_id": "owed"}
    rich[-1][1].append({"event_type": "overdue_payment", **due})
    bench = Workbench(tmp_path / "all")
    bench.add([event for _, events in everybody for event in events])
    bench.refresh(as_of=UNTIL)
    seen: Counter[str] = Counter()
    for number, (life, events) in enumerate((*rich[-4:], everybody[20], everybody[40])):
        account = life.truth.funnel.account_id
        [event_id] = bench.query(
            f"select min(event_id) from events where account_id = '{account}'"
        )[0]
        rows = told(bench, account, event_id)
        without = Workbench(tmp_path / f"without-{number}")
        without.add([event for _, other in everybody if other is not events for event in other])
        without.refresh(as_of=UNTIL)
        for table in AGGREGATES:
            named = [each.row for each in rows if each.table == table]
            assert {tuple(row) for row in named} <= {NAMES[table]}
            with_it, lacking = (keyed(each, table, NAMES[table]) for each in (bench, without))
            changed = {
                key
                for key in with_it.keys() | lacking.keys()
                if with_it.get(key) != lacking.get(key)
            }
            assert {tuple(row.values()) for row in named} == changed, (account, table)
            seen[table] += len(named)
    assert all(seen[table] for table in AGGREGATES)


def test_every_published_aggregate_is_followed(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench.add([{"event_type": "user_registered", "account_id": "a@x.test", "occurred_at": UNTIL}])
    bench.refresh(as_of=UNTIL)
    marts = bench.query(
        "select table_name from duckdb_tables() where schema_name = 'main'"
        " and table_name like 'mart_%' union select view_name from duckdb_views()"
        " where schema_name = 'main' and view_name like 'mart_%'"
    )
    assert {name for (name,) in marts} == set(AGGREGATES)


# One account by hand: registered and on business on 3 March, an overdue notice on 3 April, free on
# the 5th; a second one deletes the only workspace that its plan was for.
STORY: list[Event] = [
    {"event_type": "user_registered", "account_id": "a@x.test", "source": "ads",
     "occurred_at": "2026-03-01T10:00:00Z", "event_id": "registered"},
    {"event_type": "plan_changed", "account_id": "a@x.test", "plan_id": "business",
     "auto_renew": False, "occurred_at": "2026-03-03T10:00:00Z", "event_id": "paid"},
    {"event_type": "overdue_payment", "account_id": "a@x.test", "payment_id": "p",
     "auto_renew": False, "occurred_at": "2026-04-03T10:00:00Z", "event_id": "notice"},
    {"event_type": "plan_changed", "account_id": "a@x.test", "plan_id": "free",
     "occurred_at": "2026-04-05T10:00:00Z", "event_id": "cancelled"},
    {"event_type": "plan_changed", "account_id": "b@x.test", "plan_id": "business",
     "workspace_id": "w", "occurred_at": "2026-03-03T10:00:00Z", "event_id": "bs"},
    {"event_type": "workspace_deleted", "workspace_id": "w",
     "occurred_at": "2026-03-09T10:00:00Z", "event_id": "deleted"},
    {"event_type": "workspace_deleted", "workspace_id": "unheard-of",
     "occurred_at": "2026-03-09T10:00:00Z", "event_id": "stray"},
]  # fmt: skip
BUSINESS = {"currency": "USD", "source": "ads"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    bench = Workbench(tmp_path_factory.mktemp("counted"))
    bench.add(STORY)
    bench.refresh(as_of="2026-05-10T00:00:00Z")
    return bench


@pytest.mark.parametrize(
    ("event_id", "expected"),
    [
        ("registered", {("mart_funnel_daily", "2026-03-01")}),
        (
            "paid",
            {
                ("mart_funnel_daily", "2026-03-01"),
                ("mart_plan_changes_daily", "2026-03-03"),
                ("mart_mrr_daily", "2026-03-03"),
                ("mart_mrr_monthly", "2026-03-01"),
            },
        ),
        ("notice", {("mart_overdue_monthly", "2026-04-01")}),
        (
            "cancelled",
            {
                ("mart_plan_changes_daily", "2026-04-05"),
                ("mart_mrr_daily", "2026-04-05"),
                ("mart_mrr_monthly", "2026-04-01"),
                ("mart_overdue_monthly", "2026-04-01"),  # it closed the episode
            },
        ),
    ],
)
def test_rows_that_rest_on_the_event_itself_are_told_apart(
    bench: Workbench, event_id: str, expected: set[tuple[str, str]]
) -> None:
    rows = told(bench, "a@x.test", event_id)
    assert {
        (each.table, str(next(iter(each.row.values())))) for each in rows if each.of_event
    } == expected
    assert ("mart_retention_monthly", None) in {(each.table, each.of_event) for each in rows}
    assert {"day": "2026-03-03", **BUSINESS} in [each.row for each in rows]


def test_a_deletion_that_names_its_workspace_alone_is_followed_to_the_owner(
    bench: Workbench,
) -> None:
    with bench.connect() as warehouse:
        assert account_of(warehouse, "deleted") == "b@x.test"
        assert account_of(warehouse, "stray") is None
        assert account_of(warehouse, "nothing") is None
        assert list(counted(warehouse, "nothing", "b@x.test")) == []
        rows = list(counted(warehouse, "deleted", "b@x.test"))
    assert {each.table for each in rows if each.of_event} == {
        "mart_plan_changes_daily",
        "mart_mrr_daily",
        "mart_mrr_monthly",
    }
