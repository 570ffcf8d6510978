"""Changes of plan: counted, as flows, by cause, and one by one."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl

from dashboards.filters import Filters
from dashboards.queries.asking import IN_SOURCES, LIST_ROWS_MAX, frame_of


def change_counts(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """window (`now` or `before`), day, change_type, changes: this period and the one before."""
    return counted_changes(
        connection,
        filters,
        columns="case when day >= $first_day then 'now' else 'before' end as \"window\","
        " day, change_type",
        sums="sum(changes)::bigint as changes",
        condition="day >= $previous_first_day",
    )


def plan_flows(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """from_plan, to_plan, from_tier, to_tier, changes, from_plan_id, to_plan_id: who went where.

    No plan at all is `no plan` and has tier -1; a plan outside the catalogue is last.
    """
    return frame_of(
        connection,
        f"""
        with tiers as (
            select plan_id, min(tier) as tier from plan_prices group by plan_id
        ),

        flows as (
            select
                from_plan_id,
                to_plan_id,
                sum(changes)::bigint as changes
            from mart_plan_changes_daily
            where
                day between $first_day and $last_day
                {IN_SOURCES if filters.sources else ""}
            group by from_plan_id, to_plan_id
        )

        select
            coalesce(flows.from_plan_id, 'no plan') as from_plan,
            coalesce(flows.to_plan_id, 'no plan') as to_plan,
            case when flows.from_plan_id is null then -1
                else coalesce(before.tier, 9999) end as from_tier,
            case when flows.to_plan_id is null then -1
                else coalesce(after.tier, 9999) end as to_tier,
            flows.changes,
            flows.from_plan_id,
            flows.to_plan_id
        from flows
        left join tiers as before on flows.from_plan_id = before.plan_id
        left join tiers as after on flows.to_plan_id = after.plan_id
        order by from_tier, from_plan, to_tier, to_plan
        """,
        filters,
    )


def cancels_by_cause(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """month (date), cause, cancels: why paid plans ended."""
    return counted_changes(
        connection,
        filters,
        columns="date_trunc('month', day)::date as month, cause",
        sums="sum(changes)::bigint as cancels",
        condition="change_type = 'cancel' and day >= $first_day",
    )


def plan_change_list(
    connection: duckdb.DuckDBPyConnection,
    filters: Filters,
    change_types: Sequence[str],
    rows: int = LIST_ROWS_MAX,
    *,
    is_whole: bool = False,
) -> pl.DataFrame:
    """Changes of those types in the period, newest first; `total` says how many there are.

    is_whole: with end_date and subscription_id too. Names are what a list takes longest to read:
    since when its changes are is found from the times alone.
    """
    fitting = f"""
        from fct_plan_changes
        where
            change_type in (select unnest($change_types::varchar[]))
            and changed_at >= $starts_at
            and changed_at < $ends_before
            {IN_SOURCES if filters.sources else ""}
    """
    return frame_of(
        connection,
        f"""
        with newest as (
            select changed_at {fitting} order by changed_at desc limit $rows
        )

        select
            changed_at,
            account_id,
            change_type,
            from_plan_id,
            to_plan_id,
            mrr_delta::double as mrr_delta,
            currency,
            cause,
            mrr_movement,
            {"end_date, subscription_id," if is_whole else ""}
            (
                select coalesce(sum(changes), 0)::bigint
                from mart_plan_changes_daily
                where
                    change_type in (select unnest($change_types::varchar[]))
                    and day between $first_day and $last_day
                    {IN_SOURCES if filters.sources else ""}
            ) as total
        {fitting}
            and changed_at >= (select min(changed_at) from newest)
        order by changed_at desc, change_id
        limit $rows
        """,
        filters,
        change_types=list(change_types),
        rows=rows,
    )


def counted_changes(
    connection: duckdb.DuckDBPyConnection,
    filters: Filters,
    *,
    columns: str,
    sums: str,
    condition: str,
) -> pl.DataFrame:
    """Plan changes up to the period's last day, counted by `columns` and in their order."""
    return frame_of(
        connection,
        f"""
        select {columns}, {sums}
        from mart_plan_changes_daily
        where
            {condition}
            and day <= $last_day
            {IN_SOURCES if filters.sources else ""}
        group by all
        order by all
        """,
        filters,
    )
