"""Overdue payments, what became of them, and renewals that never came."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb
import polars as pl

from dashboards.filters import Filters
from dashboards.queries.asking import DAY, LIST_ROWS_MAX, OF_SOURCES, frame_of


def overdue_balance(
    connection: duckdb.DuckDBPyConnection, filters: Filters, moments: Sequence[datetime]
) -> pl.DataFrame:
    """moment, currency, episodes, amount, unstated: what was open at each of those instants.

    unstated: episodes whose amount no notice stated; they add nothing to amount.
    """
    return frame_of(
        connection,
        f"""
        with moments as (
            select unnest($moments::timestamptz[]) as moment
        )

        select
            moment,
            currency,
            count(*) as episodes,
            coalesce(sum(amount), 0)::double as amount,
            count(*) filter (where amount is null) as unstated
        from moments
        inner join fct_overdue_episodes
            on opened_at <= moment and (closed_at is null or closed_at > moment)
        where true {OF_SOURCES if filters.sources else ""}
        group by all
        order by moment, episodes desc, currency
        """,
        filters,
        moments=list(moments),
    )


def overdue_ageing(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """ageing_bucket, cause, currency, episodes, amount: all that is open now."""
    if not filters.sources:
        return frame_of(
            connection,
            """
            select
                bucket as ageing_bucket,
                cause,
                currency,
                sum(episodes)::bigint as episodes,
                coalesce(sum(amount), 0)::double as amount
            from mart_overdue_ageing
            where episodes > 0
            group by all
            order by ageing_bucket, cause, currency
            """,
        )
    return frame_of(
        connection,
        f"""
        select
            ageing_bucket,
            cause,
            currency,
            count(*) as episodes,
            coalesce(sum(amount), 0)::double as amount
        from fct_overdue_episodes
        where status = 'open' {OF_SOURCES}
        group by all
        order by ageing_bucket, cause, currency
        """,
        filters,
    )


def open_episodes(
    connection: duckdb.DuckDBPyConnection,
    filters: Filters,
    causes: Sequence[str],
    rows: int = LIST_ROWS_MAX,
) -> pl.DataFrame:
    """Open episodes of those causes, longest overdue first; `total` says how many there are."""
    return frame_of(
        connection,
        f"""
        select
            account_id,
            cause,
            days_overdue,
            ageing_bucket,
            amount::double as amount,
            currency,
            due_date,
            opened_at,
            last_notice_at,
            notices,
            workspace_id,
            payment_id,
            (select count(*) from fct_overdue_episodes where
            status = 'open'
            and list_contains($causes, cause)
            {OF_SOURCES if filters.sources else ""}
            ) as total
        from fct_overdue_episodes
        where
            status = 'open'
            and list_contains($causes, cause)
            {OF_SOURCES if filters.sources else ""}
        order by days_overdue desc, amount desc nulls last, episode_id
        limit $rows
        """,
        filters,
        causes=list(causes),
        rows=rows,
    )


def recovery(
    connection: duckdb.DuckDBPyConnection, filters: Filters, as_of: datetime
) -> pl.DataFrame:
    """month (opened), cause, opened, matured, recovered, lost, median_days: 30 days' outcome.

    Only episodes opened at least 30 days before as_of are in matured, recovered and lost;
    median_days is over those that recovered, whenever they did.
    """
    return frame_of(
        connection,
        f"""
        with episodes as (
            select
                *,
                opened_at <= $as_of - interval 720 hours as is_matured,
                closed_at < opened_at + interval 720 hours as is_closed_in_time
            from fct_overdue_episodes
            where
                opened_at >= $starts_at
                and opened_at < $ends_before
                {OF_SOURCES if filters.sources else ""}
        )

        select
            date_trunc('month', {DAY.format("opened_at")})::date as month,
            cause,
            count(*) as opened,
            count(*) filter (where is_matured) as matured,
            count(*) filter (
                where is_matured and is_closed_in_time and status = 'recovered'
            ) as recovered,
            count(*) filter (
                where is_matured and is_closed_in_time and status = 'lost'
            ) as lost
        from episodes
        group by all
        order by month, cause
        """,
        filters,
        as_of=as_of,
    )


def days_to_recover(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """cause, recovered, median_days, p90_days: of the episodes opened in the period."""
    return frame_of(
        connection,
        f"""
        select
            cause,
            count(*) as recovered,
            quantile_cont(days_to_close, 0.5) as median_days,
            quantile_cont(days_to_close, 0.9) as p90_days
        from fct_overdue_episodes
        where
            status = 'recovered'
            and opened_at >= $starts_at
            and opened_at < $ends_before
            {OF_SOURCES if filters.sources else ""}
        group by cause
        order by cause
        """,
        filters,
    )


def missing_renewals(
    connection: duckdb.DuckDBPyConnection, filters: Filters, rows: int = LIST_ROWS_MAX
) -> pl.DataFrame:
    """Renewals expected in the period that nothing explains, newest first; `total` counts them."""
    missing = f"""
        from fct_missing_renewals
        where
            end_date between $first_day and $last_day
            {OF_SOURCES if filters.sources else ""}
    """
    return frame_of(
        connection,
        f"""
        select
            end_date,
            account_id,
            plan_id,
            mrr::double as mrr,
            currency,
            subscription_id,
            (select count(*) {missing}) as total
        {missing}
        order by end_date desc, mrr desc, subscription_id, plan_id
        limit $rows
        """,
        filters,
        rows=rows,
    )
