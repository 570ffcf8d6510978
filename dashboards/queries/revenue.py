"""Recurring revenue and who pays it: by day, by month, and by month of first payment."""

from __future__ import annotations

from typing import Final

import duckdb
import polars as pl

from dashboards.filters import Filters
from dashboards.queries.asking import DAY, IN_SOURCES, frame_of

# Who last began or ceased to pay in these days by ceasing; a plan of no time is none. It is what
# `conditions.ceased` finds in the periods, which name the plans, in less than half of the time.
_LEFT: Final = """
    select
        account_id,
        any_value(source) as source,
        max(occurred_at) as ended_at,
        arg_min(delta, occurred_at) < 0 as is_before
    from (
        select account_id, any_value(source) as source, occurred_at, sum(paying_delta) as delta
        from hooklake_inner.int_mrr_movements
        where
            paying_delta <> 0
            and occurred_at >= {first}::date::timestamptz
            and occurred_at < ({last}::date + 1)::timestamptz
        group by account_id, occurred_at
        having delta <> 0
    )
    group by account_id
    having arg_max(delta, occurred_at) < 0
"""


def mrr_deltas(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """day, currency, delta: monthly recurring revenue won and lost on each day up to the last.

    Everything before the period is in one row a currency, dated the day before the period.
    """
    return frame_of(
        connection,
        f"""
        select
            greatest(day, $first_day - 1) as day,
            currency,
            sum(mrr_delta)::double as delta
        from mart_mrr_daily
        where day <= $last_day {IN_SOURCES if filters.sources else ""}
        group by all
        order by day, currency
        """,
        filters,
    )


def paying_deltas(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """day, delta: accounts that began or ceased to pay on each day, whatever the currency.

    Everything before the period is in one row, dated the day before the period.
    """
    return frame_of(
        connection,
        f"""
        select
            greatest(day, $first_day - 1) as day,
            sum(paying_delta)::bigint as delta
        from mart_mrr_daily
        where day <= $last_day {IN_SOURCES if filters.sources else ""}
        group by all
        order by day
        """,
        filters,
    )


def churned_by_day(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """day, accounts, paid_before: who ceased to pay that day and pays nothing at the period's end.

    paid_before: those of them who paid when it began. This period and, if any, the one before.
    """
    windows = [_LEFT.format(first="$first_day", last="$last_day")]
    if filters.has_previous:
        windows.append(_LEFT.format(first="$previous_first_day", last="($first_day - 1)"))
    return frame_of(
        connection,
        f"""
        select
            {DAY.format("ended_at")} as day,
            count(*) as accounts,
            count(*) filter (where is_before) as paid_before
        from ({" union all ".join(windows)})
        where true {IN_SOURCES if filters.sources else ""}
        group by day
        order by day
        """,
        filters,
    )


def movements(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """month (date), currency, movement, amount (signed), changes: what moved MRR each month.

    A change of currency is a movement in each of the two.
    """
    return frame_of(
        connection,
        f"""
        select
            date_trunc('month', {DAY.format("occurred_at")})::date as month,
            currency,
            mrr_movement as movement,
            sum(account_mrr_after - account_mrr_before)::double as amount,
            count(*) as changes
        from hooklake_inner.int_mrr_movements
        where
            mrr_movement <> 'none'
            and occurred_at >= $starts_at
            and occurred_at < $ends_before
            {IN_SOURCES if filters.sources else ""}
        group by all
        order by all
        """,
        filters,
    )


def revenue_by_month(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """mart_mrr_monthly of the months the period touches, newest first, with its rates.

    nrr, grr and logo_churn are 0..1 or more, and arpa an amount; NULL over nothing.
    """
    return frame_of(
        connection,
        """
        select
            month,
            currency,
            mrr_start::double as mrr_start,
            "new"::double as "new",
            reactivation::double as reactivation,
            expansion::double as expansion,
            contraction::double as contraction,
            churn::double as churn,
            mrr_end::double as mrr_end,
            expanded_mrr::double as expanded_mrr,
            retained_mrr::double as retained_mrr,
            paying_accounts_start,
            paying_accounts_end,
            churned_accounts,
            expanded_mrr::double / nullif(mrr_start, 0)::double as nrr,
            retained_mrr::double / nullif(mrr_start, 0)::double as grr,
            churned_accounts / nullif(paying_accounts_start, 0) as logo_churn,
            mrr_end::double / nullif(paying_accounts_end, 0) as arpa
        from mart_mrr_monthly
        where month between date_trunc('month', $first_day) and $last_day
        order by month desc, mrr_end desc, currency
        """,
        filters,
    )


def retention(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """mart_retention_monthly with amounts for drawing, by cohort, currency and period."""
    return frame_of(
        connection,
        """
        select
            cohort_month, currency, period_number, cohort_size, matured, retained,
            mrr_start::double as mrr_start,
            mrr_retained::double as mrr_retained
        from mart_retention_monthly
        order by cohort_month, currency, period_number
        """,
    )
