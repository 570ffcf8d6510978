"""The people behind a cell are those its number counts, and their way is in the address."""

from __future__ import annotations

from datetime import date

import duckdb
import polars as pl
import pytest
from test_queries import of

from dashboards import figures, people, queries
from dashboards.filters import Filters
from dashboards.people import People

SOME = ("referral", "webinar")


def found(connection: duckdb.DuckDBPyConnection, address: str, filters: Filters) -> list[str]:
    """The accounts the list shows for an address."""
    chosen = people.read(address)
    assert chosen is not None and chosen.address == address and chosen.label
    frame = queries.accounts(connection, filters, people=chosen, rows=queries.EXPORT_ROWS_MAX)
    assert frame.is_empty() or frame["total"][0] == frame.height
    return frame["account_id"].to_list()


@pytest.mark.parametrize("sources", [(), SOME])
def test_a_step_of_the_funnel_leads_to_those_who_reached_it(
    full: duckdb.DuckDBPyConnection, sources: tuple[str, ...]
) -> None:
    filters = of("90d", *sources)
    by_day = queries.funnel_by_day(full, filters)
    steps = figures.funnel_steps(figures.this_period(by_day, filters, "cohort_date"))
    for row in people.behind(steps, "funnel", ["step"], filters).to_dicts():
        assert len(found(full, row["people"], filters)) == row["accounts"] > 0


def test_a_cell_of_the_triangle_leads_to_those_who_still_pay(
    full: duckdb.DuckDBPyConnection,
) -> None:
    cells = figures.retention(queries.retention(full), "accounts", None).with_columns(
        pl.lit("").alias("currency")
    )
    parts = ["cohort_month", "period_number", "currency"]
    judged = people.behind(cells, "retention", parts).filter(
        pl.col("kept") > 0, pl.col("period_number").is_in([0, 1, 7])
    )
    assert judged.height > 10
    for row in judged.to_dicts():
        assert len(found(full, row["people"], of("90d"))) == row["kept"]


def test_a_flow_leads_to_those_who_went_that_way(full: duckdb.DuckDBPyConnection) -> None:
    filters = of("12m")
    flows = queries.plan_flows(full, filters)
    led = people.behind(flows, "flow", ["from_plan_id", "to_plan_id"], filters)
    for row in led.to_dicts():
        went = full.execute(
            "select distinct account_id from fct_plan_changes where changed_at >= ? and"
            " changed_at < ? and from_plan_id is not distinct from ?"
            " and to_plan_id is not distinct from ?",
            [filters.starts_at, filters.ends_before, row["from_plan_id"], row["to_plan_id"]],
        ).fetchall()
        assert sorted(found(full, row["people"], filters)) == sorted(name for (name,) in went)
        assert 0 < len(went) <= row["changes"]


def test_a_piece_of_the_ageing_leads_to_those_who_owe_it(full: duckdb.DuckDBPyConnection) -> None:
    ageing = queries.overdue_ageing(full, of("90d"))
    led = people.behind(ageing, "ageing", ["ageing_bucket", "cause", "currency"])
    for row in led.to_dicts():
        owing = full.execute(
            "select distinct account_id from fct_overdue_episodes where status = 'open'"
            " and ageing_bucket = ? and cause = ? and currency = ?",
            [row["ageing_bucket"], row["cause"], row["currency"]],
        ).fetchall()
        assert sorted(found(full, row["people"], of("90d"))) == sorted(name for (name,) in owing)


@pytest.mark.parametrize(
    ("question", "kind", "parts", "amount"),
    [
        (queries.cancels_by_cause, "cancel", ["cause"], "cancels"),
        (queries.movements, "movement", ["movement", "currency"], "changes"),
    ],
)
def test_a_piece_of_a_month_leads_to_those_of_that_month_within_the_period(
    full: duckdb.DuckDBPyConnection, question: object, kind: str, parts: list[str], amount: str
) -> None:
    filters = of("90d")
    led = people.behind(question(full, filters), kind, parts, filters, "month")  # type: ignore[operator]
    firsts = {people.read(row).parts[-2] for row in led["people"]}  # type: ignore[union-attr]
    assert min(firsts) == filters.first_day.isoformat()  # the first month is cut, as the chart is
    for row in led.to_dicts():
        assert 0 < len(found(full, row["people"], filters)) <= row[amount]


def test_names_with_commas_and_nothing_at_all_survive_the_address() -> None:
    frame = pl.DataFrame({"before": ["a,b%2C&"], "after": [None]}, schema_overrides={"after": str})
    period = Filters(date(2026, 1, 1), date(2026, 1, 1))
    (address,) = people.behind(frame, "flow", ["before", "after"], period)["people"]
    chosen = people.read(address)
    assert chosen == People("flow", ("a,b%2C&", "", "2026-01-01", "2026-01-01"))
    assert chosen is not None and chosen.label == "Went from a,b%2C& to no plan on 1 Jan 2026"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "everybody",
        "funnel,paid",
        "funnel,bought,2026-01-01,2026-03-31",
        "funnel,paid,2026-01-01,2026-13-31",
        "funnel,paid,20260101,2026-03-31",
        "retention,2026-01-01,25,",
        "retention,2026-01-01,-1,",
        "retention,2026-01-01,²,",
        "ageing,soon,wallet_short,",
        "flow,a,b,2026-01-01,2026-01-31,more",
    ],
)
def test_a_made_up_address_names_nobody(address: str) -> None:
    assert people.read(address) is None
