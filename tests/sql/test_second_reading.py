"""The published tables equal a second, sequential reading of the rules, for random histories."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.sql.random_lives import CATALOGUE, catalogue_csv, random_history
from tests.sql.reference import Account, in_order
from warehouse.workbench import Workbench

AS_OF = datetime(2026, 5, 15, 12, tzinfo=UTC)
ACCOUNTS = 150


@pytest.mark.slow
def test_tables_equal_the_second_reading_after_batches_in_any_order(tmp_path: Path) -> None:
    chance = random.Random(20260515)
    bench = Workbench(tmp_path)
    bench.data.plan_prices.write_text(catalogue_csv())
    histories: dict[str, list[dict[str, Any]]] = {}
    for number in range(ACCOUNTS):
        account_id = f"a{number:03d}"
        histories[account_id] = random_history(chance, account_id, 100 * number)
    events = [event for history in histories.values() for event in history]
    chance.shuffle(events)
    third = len(events) // 3
    for batch in (events[:third], events[third : 2 * third], events[2 * third :]):
        bench.add(sorted(batch, key=lambda event: event["seq"]))
        bench.refresh(as_of=AS_OF)
    incremental = {table: bench.rows(table) for table in _TABLES}
    bench.refresh(full=True, as_of=AS_OF)
    for table in _TABLES:
        assert bench.rows(table) == incremental[table], f"{table}: incremental is not full"
    readings = {
        account_id: Account([dict(event) for event in history], CATALOGUE)
        for account_id, history in histories.items()
    }
    for table in _TABLES:
        expected = [row for reading in readings.values() for row in _read(reading, table)]
        columns = list(expected[0])
        found = [{name: row[name] for name in columns} for row in incremental[table]]
        _assert_equal(table, expected, found, histories)


_TABLES = (
    "int_plan_periods",
    "fct_plan_changes",
    "fct_overdue_episodes",
    "fct_registration_funnel",
    "dim_accounts",
)


def _read(account: Account, table: str) -> list[dict[str, Any]]:
    if table == "int_plan_periods":
        return account.periods()
    if table == "fct_plan_changes":
        return account.changes()
    if table == "fct_overdue_episodes":
        return account.overdue(AS_OF.date())
    if table == "dim_accounts":
        return [account.account(AS_OF)]
    funnel = account.funnel()
    return [funnel] if funnel else []


def _assert_equal(
    table: str,
    expected: Iterable[dict[str, Any]],
    found: Iterable[dict[str, Any]],
    histories: dict[str, list[dict[str, Any]]],
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


def _comparable(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in row.items())
