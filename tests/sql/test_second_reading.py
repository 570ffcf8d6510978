"""The published tables equal a second, sequential reading of the rules, for random histories."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.sql.random_lives import CATALOGUE, catalogue_csv, once, random_history, resent
from tests.sql.reference import Account, in_order
from tests.sql.reference_marts import marts, paying_daily
from warehouse.workbench import Workbench

AS_OF = datetime(2026, 5, 15, 12, tzinfo=UTC)
ACCOUNTS = 120
TABLES = (
    "int_plan_periods",
    "fct_plan_changes",
    "fct_overdue_episodes",
    "fct_registration_funnel",
    "dim_accounts",
    "mart_funnel_daily",
    "mart_mrr_monthly",
    "mart_mrr_daily",
    "mart_plan_changes_daily",
    "mart_overdue_ageing",
    "mart_overdue_monthly",
    "mart_retention_monthly",
    "mart_renewals_monthly",
    "fct_missing_renewals",
)

Row = dict[str, Any]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4, 77])
def test_tables_equal_the_second_reading_in_whatever_batches_it_came(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    bench = Workbench(tmp_path)
    bench.data.plan_prices.write_text(catalogue_csv())
    histories: dict[str, list[Row]] = {}
    for number in range(ACCOUNTS):
        account_id = f"a{number:03d}"
        histories[account_id] = random_history(chance, account_id, 100 * number)
    sent = [event for history in histories.values() for event in history]
    sent += resent(chance, sent)
    chance.shuffle(sent)
    as_of = AS_OF
    for batch in _batches(chance, sent):
        bench.add(sorted(batch, key=lambda event: event["seq"]))
        bench.refresh(as_of=as_of)
        as_of += timedelta(seconds=chance.choice([0, 1, 86_400]))
    _assert_equal_to_the_reading(bench, histories, sent, as_of := _told(bench))
    # Time alone passes: what depends on it moves on for everybody.
    as_of += timedelta(days=chance.randint(1, 40), seconds=chance.choice([0, 1]))
    bench.refresh(as_of=as_of)
    _assert_equal_to_the_reading(bench, histories, sent, as_of)
    incremental = {table: bench.rows(table) for table in TABLES}
    bench.refresh(full=True, as_of=as_of)
    for table in TABLES:
        assert bench.rows(table) == incremental[table], f"{table}: incremental is not full"


def _batches(chance: random.Random, events: list[Row]) -> list[list[Row]]:
    cuts = sorted(chance.sample(range(1, len(events)), chance.randint(1, 3)))
    return [events[i:j] for i, j in zip([0, *cuts], [*cuts, len(events)], strict=True)]


def _told(bench: Workbench) -> datetime:
    as_of: datetime = bench.query("select as_of from hooklake.build")[0][0]
    return as_of.astimezone(UTC)


def _assert_equal_to_the_reading(
    bench: Workbench, histories: dict[str, list[Row]], sent: list[Row], as_of: datetime
) -> None:
    received: dict[str, list[Row]] = {account_id: [] for account_id in histories}
    for event in once(sent):
        received[event["account_id"]].append(dict(event))
    readings = [Account(events, CATALOGUE) for events in received.values()]
    expected = marts(readings, as_of) | {
        "int_plan_periods": [row for each in readings for row in each.periods()],
        "fct_plan_changes": [row for each in readings for row in each.changes()],
        "fct_overdue_episodes": [row for each in readings for row in each.overdue(as_of.date())],
        "fct_registration_funnel": [row for row in (r.funnel() for r in readings) if row],
        "dim_accounts": [each.account(as_of) for each in readings],
    }
    assert set(expected) == set(TABLES)
    for table in TABLES:
        assert expected[table], f"{table}: the histories say nothing of it"
        columns = list(expected[table][0])
        found = [{name: row[name] for name in columns} for row in bench.rows(table)]
        _assert_equal(table, expected[table], found, received)
    began_and_ceased = bench.query(
        "select day, source, sum(paying_delta)::bigint as paying_delta from mart_mrr_daily"
        " group by day, source having sum(paying_delta) <> 0"
    )
    assert paying_daily(readings, as_of) == {
        (day, name): sum_ for day, name, sum_ in began_and_ceased
    }


def _assert_equal(
    table: str, expected: Iterable[Row], found: Iterable[Row], histories: dict[str, list[Row]]
) -> None:
    wanted = sorted(_comparable(row) for row in expected)
    got = sorted(_comparable(row) for row in found)
    if wanted == got:
        return
    missing = next((row for row in wanted if row not in got), None)
    surplus = next((row for row in got if row not in wanted), None)
    account_id = dict(missing or surplus or ()).get("account_id", "")
    history = "\n".join(
        str({k: str(v) for k, v in event.items() if v is not None})
        for event in in_order(histories.get(account_id, []))
    )
    pytest.fail(f"{table}\nexpected {missing}\nfound    {surplus}\n{history}")


def _comparable(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in row.items())
