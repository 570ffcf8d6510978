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
    (queries.churned_by_day, ()),
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
    (queries.lifecycle_counts, ()),
    (queries.accounts, ("a", ["paying"], ["business"], True)),
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


def test_mrr_today_is_the_monthly_price_of_every_open_paid_plan(
    full: duckdb.DuckDBPyConnection,
) -> None:
    filters = of("90d")
    deltas = queries.mrr_deltas(full, filters)
    expected = full.execute(
        """
        select
            plan_prices.currency,
            sum(round(if("interval" = 'year', price / 12.0, price), 2))::double
        from int_plan_periods inner join plan_prices using (plan_id)
        where int_plan_periods.valid_to is null and price > 0
        group by 1
        """
    ).fetchall()
    assert len(expected) == 2
    for currency, amount in expected:
        level = figures.balance(deltas.filter(pl.col("currency") == currency), filters)
        assert round(level.now, 2) == round(amount, 2)


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


def test_an_unpriced_plan_is_paid_adds_nothing_and_is_named(tmp_path: Path) -> None:
    """79 + 0; two accounts pay, of which one an unknown plan; the free one does not."""
    build_warehouse(tmp_path, accounts=0)
    with duckdb.connect(str(tmp_path / "warehouse-1.duckdb")) as writer:
        writer.execute(
            "insert into int_plan_periods values "
            "('b', 't', 'business', '2026-01-01 00:00Z', null, true, false, 79, 'USD', 1), "
            "('c', 'u', 'mystery', '2026-01-01 00:00Z', null, true, true, 0, 'unknown', 2), "
            "('d', 'v', 'free', '2026-01-01 00:00Z', null, false, false, 0, 'USD', 3)"
        )
    version = published(DataDir(tmp_path))
    assert version is not None
    filters = of("90d")
    with connect(version) as connection:
        mrr = queries.mrr_deltas(connection, filters)
        paying = queries.paying_deltas(connection, filters)
        unpriced = queries.unpriced_plans(connection)
    assert dict(mrr.select("currency", "delta").rows()) == {"USD": 79.0, "unknown": 0.0}
    assert figures.balance(paying, filters).now == 2
    assert unpriced.rows() == [("mystery", 1)]


def test_an_account_with_two_paid_workspaces_begins_and_ceases_to_pay_once(
    tmp_path: Path,
) -> None:
    """1 Nov to 5 Nov, 3 Nov to 9 Nov, and again from 12 Nov: pays 1-8 and from 12 on."""
    build_warehouse(tmp_path, accounts=0)
    with duckdb.connect(str(tmp_path / "warehouse-1.duckdb")) as writer:
        for begins, ends in ((1, 5), (3, 9), (12, None)):
            writer.execute(
                "insert into int_plan_periods values ('a', $s, 'business', $begins, $ends, "
                "true, false, 79, 'USD', $s[2:]::bigint)",
                {
                    "s": f"s{begins}",
                    "begins": f"2026-11-{begins:02} 12:00Z",
                    "ends": f"2026-11-{ends:02} 12:00Z" if ends else None,
                },
            )
    version = published(DataDir(tmp_path))
    assert version is not None
    filters = Filters(date(2026, 11, 1), date(2026, 11, 14))
    with connect(version) as connection:
        course = figures.balance(queries.paying_deltas(connection, filters), filters).course
        mrr = figures.balance(queries.mrr_deltas(connection, filters), filters).course
    assert course == (0, *[1] * 8, *[0] * 3, *[1] * 3)
    assert mrr == (0, 79, 79, 158, 158, 79, 79, 79, 79, 0, 0, 0, 79, 79, 79)


@pytest.mark.parametrize("lifecycles", [(), ("paying", "trialing")])
@pytest.mark.parametrize("rows", [1, 7, 5_000])
def test_a_capped_list_of_accounts_begins_as_the_whole_one(
    full: duckdb.DuckDBPyConnection, lifecycles: tuple[str, ...], rows: int
) -> None:
    whole = queries.accounts(full, of("90d"), lifecycles=lifecycles, rows=queries.EXPORT_ROWS_MAX)
    assert whole["total"][0] == whole.height
    capped = queries.accounts(full, of("90d"), lifecycles=lifecycles, rows=rows)
    assert capped.equals(whole.head(rows))


@pytest.mark.parametrize("sources", [(), SOME])
@pytest.mark.parametrize("rows", [1, 7, 5_000])
def test_a_capped_list_of_changes_begins_as_the_whole_one(
    full: duckdb.DuckDBPyConnection, sources: tuple[str, ...], rows: int
) -> None:
    filters = of("12m", *sources)
    kinds = ["upgrade", "cancel", "new"]
    whole = queries.plan_change_list(full, filters, kinds, rows=queries.EXPORT_ROWS_MAX)
    assert whole.height > 7
    assert whole["total"][0] == whole.height
    capped = queries.plan_change_list(full, filters, kinds, rows=rows)
    assert capped.equals(whole.head(rows))


def test_an_exported_list_of_changes_tells_more_of_the_same_ones(
    full: duckdb.DuckDBPyConnection,
) -> None:
    shown = queries.plan_change_list(full, of("90d"), ["upgrade", "cancel"])
    whole = queries.plan_change_list(full, of("90d"), ["upgrade", "cancel"], is_whole=True)
    assert set(whole.columns) - set(shown.columns) == {"end_date", "subscription_id"}
    assert whole.select(shown.columns).equals(shown)
