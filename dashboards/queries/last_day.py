"""What happened in the 24 hours up to as_of."""

from __future__ import annotations

from datetime import datetime

import duckdb
import polars as pl

from dashboards.filters import Filters
from dashboards.queries.asking import OF_SOURCES, frame_of


def happened_counts(
    connection: duckdb.DuckDBPyConnection, filters: Filters, as_of: datetime
) -> pl.DataFrame:
    """what, now, before: how often each thing happened in the last 24 hours and the 24 before."""
    return frame_of(
        connection,
        f"""
        with happened as (
            select 'registered' as what, registered_at as happened_at, account_id
            from fct_registration_funnel
            where registered_at > $as_of - interval 48 hours
            union all
            select 'workspace', workspace_at, account_id
            from fct_registration_funnel
            where workspace_at > $as_of - interval 48 hours
            union all
            select change_type, changed_at, account_id
            from fct_plan_changes
            where changed_at > $as_of - interval 48 hours
            union all
            select 'overdue', opened_at, account_id
            from fct_overdue_episodes
            where opened_at > $as_of - interval 48 hours
            union all
            select 'recovered', closed_at, account_id
            from fct_overdue_episodes
            where
                status = 'recovered'
                and closed_at > $as_of - interval 48 hours
        )

        select
            what,
            count(*) filter (where happened_at > $as_of - interval 24 hours) as "now",
            count(*) filter (where happened_at <= $as_of - interval 24 hours) as "before"
        from happened
        where happened_at <= $as_of {OF_SOURCES if filters.sources else ""}
        group by what
        order by what
        """,
        filters,
        as_of=as_of,
    )


def happened_latest(
    connection: duckdb.DuckDBPyConnection, filters: Filters, as_of: datetime, rows: int = 50
) -> pl.DataFrame:
    """happened_at, what, account_id, detail: the latest of the last 24 hours, newest first."""
    return frame_of(
        connection,
        f"""
        with happened as (
            select registered_at as happened_at, 'registered' as what, account_id, source as detail
            from fct_registration_funnel
            where registered_at > $as_of - interval 24 hours
            union all
            select workspace_at, 'workspace', account_id, source
            from fct_registration_funnel
            where workspace_at > $as_of - interval 24 hours
            union all
            select
                changed_at,
                change_type,
                account_id,
                coalesce(from_plan_id, 'no plan') || ' → ' || coalesce(to_plan_id, 'no plan')
            from fct_plan_changes
            where
                changed_at > $as_of - interval 24 hours
                and change_type not in ('start_free', 'trial_over', 'closed')
            union all
            select opened_at, 'overdue', account_id, cause
            from fct_overdue_episodes
            where opened_at > $as_of - interval 24 hours
            union all
            select closed_at, 'recovered', account_id, cause
            from fct_overdue_episodes
            where
                status = 'recovered'
                and closed_at > $as_of - interval 24 hours
        )

        select happened_at, what, account_id, detail
        from happened
        where happened_at <= $as_of {OF_SOURCES if filters.sources else ""}
        order by happened_at desc, account_id, what
        limit $rows
        """,
        filters,
        as_of=as_of,
        rows=rows,
    )
