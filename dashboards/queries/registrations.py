"""Who registered, and how far and how fast they came."""

from __future__ import annotations

from typing import Final

import duckdb
import polars as pl

from dashboards.filters import Filters
from dashboards.queries.asking import DAY, IN_SOURCES, frame_of

WINDOWS: Final = (14, 30, 90)

_FUNNEL_SUMS: Final = ", ".join(
    f"sum({column})::bigint as {column}"
    for column in (
        "registered",
        "workspace",
        "paid",
        "renewed",
        *(f"{kind}_{window}" for window in WINDOWS for kind in ("matured", "paid")),
    )
)


def sources(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """source, registered: every registration source, the largest first."""
    return frame_of(
        connection,
        """
        select source, sum(registered)::bigint as registered
        from mart_funnel_daily
        group by source
        order by registered desc, source
        """,
    )


def coverage(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row: accounts, first_day (date of the oldest thing a page shows, NULL without any)."""
    return frame_of(
        connection,
        f"""
        select
            (select count(*) from dim_accounts) as accounts,
            least(
                (select min(cohort_date) from mart_funnel_daily),
                (select min(day) from mart_plan_changes_daily),
                (select {DAY.format("min(opened_at)")} from fct_overdue_episodes),
                (select min(end_date) from fct_missing_renewals)
            ) as first_day
        """,
    )


def funnel_by_day(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """cohort_date, the four steps, matured_W and paid_W: this period and the one before it.

    One row per day that has registrations, ordered.
    """
    return frame_of(
        connection,
        f"""
        select cohort_date, {_FUNNEL_SUMS}
        from mart_funnel_daily
        where
            cohort_date between $previous_first_day and $last_day
            {IN_SOURCES if filters.sources else ""}
        group by cohort_date
        order by cohort_date
        """,
        filters,
    )


def funnel_by_source(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """source, the four steps, matured_W and paid_W of the period; the largest source first."""
    return frame_of(
        connection,
        f"""
        select source, {_FUNNEL_SUMS}
        from mart_funnel_daily
        where
            cohort_date between $first_day and $last_day
            {IN_SOURCES if filters.sources else ""}
        group by source
        order by registered desc, source
        """,
        filters,
    )


def registrations_by_bucket(
    connection: duckdb.DuckDBPyConnection, filters: Filters
) -> pl.DataFrame:
    """bucket (date), source, registered, is_others: registrations by day, week or month.

    Sources beyond the seven largest of the period are together as `other sources`.
    """
    return frame_of(
        connection,
        f"""
        with largest as (
            {largest_sources("$first_day", "$last_day", IN_SOURCES if filters.sources else "")}
        )

        select
            date_trunc($grain, cohort_date)::date as bucket,
            case when source in (select source from largest) then source
                else 'other sources' end as source,
            sum(registered)::bigint as registered,
            source not in (select source from largest) as is_others
        from mart_funnel_daily
        where
            cohort_date between $first_day and $last_day
            {IN_SOURCES if filters.sources else ""}
        group by all
        order by bucket, registered desc
        """,
        filters,
    )


def largest_sources(first_day: str, last_day: str, condition: str) -> str:
    """Those a chart of registrations names, each for itself; all others are together."""
    return f"""
        select source
        from mart_funnel_daily
        where cohort_date between {first_day} and {last_day} {condition}
        group by source
        order by sum(registered) desc, source
        limit 7
    """


def time_to_paid(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """window (`now` or `before`), paid, median_seconds, p90_seconds: who registered then."""
    return frame_of(
        connection,
        f"""
        select
            case when registered_at >= $starts_at then 'now' else 'before' end as "window",
            count(seconds_to_paid) as paid,
            quantile_cont(seconds_to_paid, 0.5) as median_seconds,
            quantile_cont(seconds_to_paid, 0.9) as p90_seconds
        from fct_registration_funnel
        where
            registered_at >= $previous_starts_at
            and registered_at < $ends_before
            {IN_SOURCES if filters.sources else ""}
        group by all
        """,
        filters,
    )


def days_to_paid(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """day (0..90), paid: how many of the period's registrations paid on that day after it.

    Day 90 holds everything later as well.
    """
    return frame_of(
        connection,
        f"""
        select least(seconds_to_paid // 86400, 90)::integer as day, count(*) as paid
        from fct_registration_funnel
        where
            seconds_to_paid is not null
            and registered_at >= $starts_at
            and registered_at < $ends_before
            {IN_SOURCES if filters.sources else ""}
        group by day
        order by day
        """,
        filters,
    )
