"""Every question of sql/analyses is stated, answered from the public tables, and true."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from ingest.lifecycles import lives
from ingest.population import World
from tests.sql.made_up import deliveries
from warehouse.adhoc import execute
from warehouse.transform import PROJECT
from warehouse.workbench import Workbench

pytestmark = pytest.mark.slow

UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
ANALYSES = {path.stem: path for path in sorted((PROJECT / "analyses").glob("*.sql"))}
HEADER = re.compile(
    r"-- Question: .+\?\n-- One row per: .+\.\n-- How to read: (.+\n-- )*.+\.\n(?!--)"
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """Five hundred days of 400 accounts; one renewal in twelve was lost on its way."""
    chance = random.Random(11)
    bench = Workbench(tmp_path_factory.mktemp("analyses"))
    bench.add(
        delivery
        for life in lives(World(seed=11, accounts=400, until=UNTIL, days=500))
        for happening in life.happenings
        if happening.event_type != "plan_renewed" or chance.random() > 1 / 12
        for delivery in deliveries(happening, chance)
    )
    bench.refresh(as_of=UNTIL)
    yield bench


def answer(bench: Workbench, name: str) -> list[dict[str, Any]]:
    found = execute(bench.data, ANALYSES[name].read_text())
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_there_is_a_question_for_every_side_of_the_business() -> None:
    assert len(ANALYSES) >= 12


@pytest.mark.parametrize("name", ANALYSES)
def test_a_question_says_what_it_asks_and_how_to_read_the_answer(name: str) -> None:
    assert HEADER.match(ANALYSES[name].read_text())


@pytest.mark.parametrize("name", ANALYSES)
def test_a_question_is_answered_in_the_analysts_sandbox(bench: Workbench, name: str) -> None:
    rows = answer(bench, name)
    assert rows, "an answer without rows says nothing"
    for column in rows[0]:
        values = [row[column] for row in rows if row[column] is not None]
        assert values, f"{column} is never known"
        if column.endswith(("_rate", "_share")):
            assert all(0 <= value <= 1 for value in values), column
    plain = bench.query(ANALYSES[name].read_text())
    assert len(plain) == len(rows)


@pytest.mark.parametrize("name", ANALYSES)
def test_a_question_reads_public_tables_only(bench: Workbench, name: str) -> None:
    public = {table for (table,) in bench.query("select table_name from duckdb_columns()"
              " where schema_name = 'main' and not internal")}  # fmt: skip
    text = re.sub(r"--.*", "", ANALYSES[name].read_text())
    ctes = set(re.findall(r"(\w+) as \(\n", text))
    read = set(re.findall(r"(?:from|join) ([\w.]+)", text)) - ctes
    assert read and read <= public


def total(rows: list[dict[str, Any]], column: str) -> Any:
    return sum(row[column] for row in rows)


def test_answers_add_up_to_what_the_tables_hold(bench: Workbench) -> None:
    [(accounts, registered)] = bench.query(
        "select count(*), count(registered_at) from dim_accounts"
    )
    assert total(answer(bench, "conversion_by_source_and_month"), "registered") == registered
    assert total(answer(bench, "where_people_stop"), "accounts") == registered
    assert total(answer(bench, "workspaces_per_account"), "accounts") == accounts
    [(mrr, paying)] = bench.query("select sum(mrr), count(*) from dim_accounts where is_paying")
    assert total(answer(bench, "revenue_at_risk"), "mrr") == mrr
    assert total(answer(bench, "revenue_at_risk"), "accounts") == paying
    assert total(answer(bench, "plan_mix_and_margin"), "mrr") == mrr
    bridge = answer(bench, "mrr_bridge")
    assert bridge[0]["mrr_end"] == mrr
    assert total(bridge, "net_change") == mrr
    lost = answer(bench, "why_people_cancel")
    [(cancels,)] = bench.query("select count(*) from fct_plan_changes where change_type = 'cancel'")
    assert total(lost, "cancels") == cancels
    [(missing,)] = bench.query("select sum(missing) from mart_renewals_monthly")
    assert len(answer(bench, "missing_renewals")) == missing
    [(overdue,)] = bench.query("select sum(episodes) from mart_overdue_ageing")
    assert len(answer(bench, "who_is_overdue")) == overdue


def test_notices_after_the_third_day_recover_nothing_of_a_lapse(bench: Workbench) -> None:
    # The made-up customers who let it lapse are told on three days and then fall to free.
    rows = {
        row["notice_number"]: row
        for row in answer(bench, "recovery_by_notice_number")
        if row["cause"] == "non_renewal"
    }
    assert sorted(rows) == [1, 2, 3]
    assert rows[1]["reached"] >= rows[2]["reached"] >= rows[3]["reached"] > 0
    assert rows[3]["lost"] > rows[3]["recovered"]


def test_a_revenue_ratio_is_one_at_the_first_payment(bench: Workbench) -> None:
    first = answer(bench, "retention_curve")[0]
    assert first["period_number"] == 0
    assert Decimal(str(first["revenue_ratio"])) == 1
    assert first["retained"] == first["matured"]
