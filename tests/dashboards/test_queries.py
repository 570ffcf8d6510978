"""The numbers on the pages are the warehouse's: each is asked a second time in other words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from warehouse_builder import AS_OF, build_warehouse

from dashboards import figures, queries
from dashboards.filters import Filters, chosen_filters
from ingest.paths import DataDir
from warehouse.reader import connect, published

TODAY = AS_OF.date()
FIRST = TODAY - timedelta(days=425)
SOME = ("referral", "webinar")
PERIODS = ("7d", "30d", "90d", "12m", "all", "custom")

QUESTIONS: tuple[tuple[Callable[..., pl.DataFrame], tuple[Any, ...]], ...] = (
    (queries.funnel_by_day, ()),
    (queries.funnel_by_source, ()),
    (queries.registrations_by_bucket, ()),
    (queries.time_to_paid, ()),
    (queries.days_to_paid, ()),
    (queries.mrr_deltas, ()),
    (queries.paying_deltas, ()),
    (queries.churn_by_day, ()),
    (queries.overdue_balance, ([AS_OF],)),
    (queries.happened_counts, (AS_OF,)),
    (queries.happened_latest, (AS_OF,)),
    (queries.change_counts, ()),
    (queries.movements, ()),
    (queries.plan_flows, ()),
    (queries.cancels_by_cause, ()),
    (queries.plan_change_list, (["cancel"],)),
    (queries.overdue_ageing, ()),
    (queries.open_episodes, (["wallet_short"],)),
    (queries.recovery, (AS_OF,)),
    (queries.days_to_recover, ()),
)


def of(period: str, *sources: str) -> Filters:
    return chosen_filters(
        period, (date(2026, 3, 1), date(2026, 5, 31)), sources, first_day=FIRST, today=TODAY
    )


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return connection.execute(sql).fetchall()[0][0]


@pytest.mark.parametrize("period", PERIODS)
def test_registrations_and_conversion_are_the_marts(
    full: duckdb.DuckDBPyConnection, period: str
) -> None:
    filters = of(period)
    frame = figures.this_period(queries.funnel_by_day(full, filters), filters, "cohort_date")
    inside = f"where cohort_date between '{filters.first_day}' and '{filters.last_day}'"
    for column in ("registered", "workspace", "paid", "renewed"):
        expected = one(full, f"select sum({column}) from mart_funnel_daily {inside}")
        assert figures.total(frame, column) == expected
    for days in queries.WINDOWS:
        share = figures.conversion(frame, days)
        expected = full.execute(
            f"select sum(paid_{days}), sum(matured_{days}) from mart_funnel_daily {inside}"
        ).fetchall()[0]
        assert (share.numerator, share.denominator) == expected


def test_sources_add_up_to_all_of_them(full: duckdb.DuckDBPyConnection) -> None:
    by_source = queries.funnel_by_source(full, of("12m"))
    some = figures.total(queries.funnel_by_source(full, of("12m", *SOME)), "registered")
    assert some == figures.total(by_source.filter(pl.col("source").is_in(SOME)), "registered")
    day_by_day = figures.this_period(
        queries.funnel_by_day(full, of("12m")), of("12m"), "cohort_date"
    )
    assert figures.total(by_source, "registered") == figures.total(day_by_day, "registered")
    buckets = queries.registrations_by_bucket(full, of("12m"))
    assert figures.total(buckets, "registered") == figures.total(by_source, "registered")


@pytest.mark.parametrize("sources", [(), SOME])
def test_paying_accounts_today_are_those_of_dim_accounts(
    full: duckdb.DuckDBPyConnection, sources: tuple[str, ...]
) -> None:
    for period in ("7d", "90d", "all"):
        filters = of(period, *sources)
        paying = figures.balance(queries.paying_deltas(full, filters), filters)
        also = "and source in ('referral', 'webinar')" if sources else ""
        assert paying.now == one(full, f"select count(*) from dim_accounts where is_paying {also}")


def test_paying_accounts_at_any_day_are_those_with_a_paid_period_then(
    full: duckdb.DuckDBPyConnection,
) -> None:
    filters = of("custom")
    course = figures.balance(queries.paying_deltas(full, filters), filters).course
    for offset in (0, 1, 31, 92):
        end = filters.starts_at + timedelta(days=offset)
        expected = full.execute(
            """
            select count(distinct account_id)
            from int_plan_periods inner join plan_prices using (plan_id)
            where
                price > 0
                and int_plan_periods.valid_from < $end
                and (int_plan_periods.valid_to is null or int_plan_periods.valid_to >= $end)
            """,
            {"end": end},
        ).fetchall()[0][0]
        assert course[offset] == expected


def test_mrr_balances_with_the_movements_to_the_cent(full: duckdb.DuckDBPyConnection) -> None:
    filters = of("12m")
    deltas = queries.mrr_deltas(full, filters)
    moved = queries.movements(full, filters)
    for currency in ("USD", "EUR"):
        level = figures.balance(deltas.filter(pl.col("currency") == currency), filters)
        won = figures.float_total(moved.filter(pl.col("currency") == currency), "amount")
        assert round(level.now - level.before, 2) == round(won, 2)


def test_mrr_of_accounts_with_one_currency_is_that_of_dim_accounts(
    full: duckdb.DuckDBPyConnection,
) -> None:
    """dim_accounts keeps one currency an account, so only the all-EUR and all-USD ones compare."""
    filters = of("90d")
    both = one(
        full,
        """
        select coalesce(sum(mrr), 0) from dim_accounts where account_id in (
            select account_id
            from int_plan_periods inner join plan_prices using (plan_id)
            where int_plan_periods.valid_to is null and price > 0
            group by account_id having count(distinct currency) > 1
        )
        """,
    )
    total = sum(
        figures.balance(
            queries.mrr_deltas(full, filters).filter(pl.col("currency") == currency), filters
        ).now
        for currency in ("USD", "EUR")
    )
    singles = float(one(full, "select sum(mrr) from dim_accounts")) - float(both)
    assert total >= singles > 0


def test_open_overdue_is_the_ageing_mart(full: duckdb.DuckDBPyConnection) -> None:
    filters = of("90d")
    balance = queries.overdue_balance(full, filters, [AS_OF])
    ageing = queries.overdue_ageing(full, filters)
    listed = queries.open_episodes(full, filters, ["wallet_short", "non_renewal", "unknown"])
    expected = one(full, "select sum(episodes) from mart_overdue_ageing")
    assert figures.total(balance, "episodes") == figures.total(ageing, "episodes") == expected
    assert listed["total"][0] == listed.height == expected
    for currency, amount in full.execute(
        "select currency, sum(amount) from mart_overdue_ageing group by currency"
    ).fetchall():
        of_currency = ageing.filter(pl.col("currency") == currency)
        assert figures.float_total(of_currency, "amount") == float(amount)


def test_ageing_by_source_adds_up_to_ageing(full: duckdb.DuckDBPyConnection) -> None:
    sources = queries.sources(full)["source"].to_list()
    parts = [queries.overdue_ageing(full, of("90d", source)) for source in sources]
    whole = queries.overdue_ageing(full, of("90d"))
    assert sum(figures.total(part, "episodes") for part in parts) == figures.total(
        whole, "episodes"
    )


def test_changes_and_flows_and_causes_count_the_same_rows(
    full: duckdb.DuckDBPyConnection,
) -> None:
    filters = of("12m")
    counts = figures.this_period(queries.change_counts(full, filters), filters, "day")
    cancels = figures.total(counts.filter(pl.col("change_type") == "cancel"), "changes")
    listed = queries.plan_change_list(full, filters, ["cancel"])
    assert cancels == figures.total(queries.cancels_by_cause(full, filters), "cancels")
    assert cancels == listed["total"][0]
    assert figures.total(counts, "changes") == figures.total(
        queries.plan_flows(full, filters), "changes"
    )


def test_a_list_is_capped_and_says_how_many_there_are(full: duckdb.DuckDBPyConnection) -> None:
    listed = queries.plan_change_list(full, of("all"), ["upgrade", "cancel"], rows=5)
    assert listed.height == 5
    assert listed["total"][0] > 5
    assert listed["changed_at"].is_sorted(descending=True)


def test_recovery_counts_only_episodes_that_had_thirty_days(
    full: duckdb.DuckDBPyConnection,
) -> None:
    rates = queries.recovery(full, of("90d"), AS_OF)
    expected = full.execute(
        """
        select
            count(*) filter (where opened_at <= $as_of - interval 30 days),
            count(*) filter (
                where opened_at <= $as_of - interval 30 days
                and status = 'recovered' and closed_at < opened_at + interval 30 days
            )
        from fct_overdue_episodes where opened_at >= $start
        """,
        {"as_of": AS_OF, "start": of("90d").starts_at},
    ).fetchall()[0]
    assert (figures.total(rates, "matured"), figures.total(rates, "recovered")) == expected


def test_the_last_day_is_the_24_hours_up_to_as_of(full: duckdb.DuckDBPyConnection) -> None:
    counts = {row[0]: row[1:] for row in queries.happened_counts(full, of("90d"), AS_OF).rows()}
    expected = one(
        full,
        "select count(*) from fct_registration_funnel "
        f"where registered_at > '{AS_OF - timedelta(days=1)}' and registered_at <= '{AS_OF}'",
    )
    assert counts["registered"][0] == expected


@pytest.mark.parametrize(
    ("question", "arguments"), QUESTIONS, ids=lambda value: getattr(value, "__name__", "")
)
def test_every_question_has_its_columns_without_a_row(
    full: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    question: Callable[..., pl.DataFrame],
    arguments: tuple[Any, ...],
) -> None:
    build_warehouse(tmp_path, accounts=0)
    version = published(DataDir(tmp_path))
    assert version is not None
    with connect(version) as empty:
        nothing = question(empty, of("90d"), *arguments)
        filtered = question(empty, of("90d", "'; drop table events; --"), *arguments)
    assert nothing.is_empty() and filtered.is_empty()
    assert nothing.columns == question(full, of("90d"), *arguments).columns


def test_a_yearly_price_is_a_twelfth_rounded_half_up_in_cents(tmp_path: Path) -> None:
    """790.00 a year: 79000 cents / 12 = 6583.33 -> 65.83. 100.50: 10050 / 12 = 837.5 -> 8.38."""
    build_warehouse(tmp_path, accounts=0)
    with duckdb.connect(str(tmp_path / "warehouse-1.duckdb")) as writer:
        writer.execute("update plan_prices set price = 100.50 where plan_id = 'business_yearly'")
        writer.execute(
            "insert into int_plan_periods values "
            "('a', 's', 'business_yearly', '2026-01-01 00:00Z', null), "
            "('b', 't', 'business', '2026-01-01 00:00Z', null), "
            "('c', 'u', 'mystery', '2026-01-01 00:00Z', null), "
            "('d', 'v', 'free', '2026-01-01 00:00Z', null)"
        )
    version = published(DataDir(tmp_path))
    assert version is not None
    filters = of("90d")
    with connect(version) as connection:
        mrr = queries.mrr_deltas(connection, filters)
        paying = queries.paying_deltas(connection, filters)
        unpriced = queries.unpriced_plans(connection)
    amounts = dict(mrr.select("currency", "delta").rows())
    assert amounts == {"USD": 8.38 + 79.0, "unknown": 0.0}
    assert figures.balance(paying, filters).now == 3  # the unpriced plan is paid, free is not
    assert unpriced.rows() == [("mystery", 1)]


def test_a_price_change_holds_for_states_that_begin_after_it(tmp_path: Path) -> None:
    """30 until July, 40 from then on; whoever began before keeps 30: 30 + 40 = 70."""
    build_warehouse(tmp_path, accounts=0)
    with duckdb.connect(str(tmp_path / "warehouse-1.duckdb")) as writer:
        writer.execute("delete from plan_prices")
        writer.execute(
            "insert into plan_prices values "
            "('p', 'P', 1, 'USD', 'month', 30, 1, '2026-01-01', '2026-07-01'), "
            "('p', 'P', 1, 'USD', 'month', 40, 1, '2026-07-01', null)"
        )
        writer.execute(
            "insert into int_plan_periods values "
            "('a', 's', 'p', '2025-02-01 00:00Z', null), "
            "('b', 't', 'p', '2026-07-01 00:00Z', null)"
        )
    version = published(DataDir(tmp_path))
    assert version is not None
    with connect(version) as connection:
        deltas = queries.mrr_deltas(connection, of("90d"))
    assert deltas["delta"].sum() == 70.0
