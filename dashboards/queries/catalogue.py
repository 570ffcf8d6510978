"""What is published, and what of it nobody knows the meaning or price of."""

from __future__ import annotations

import duckdb
import polars as pl

from dashboards.queries.asking import frame_of


def unpriced_plans(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """plan_id, accounts: plans somebody is on now that the catalogue does not price."""
    return frame_of(
        connection,
        """
        select plan_id, count(distinct account_id) as accounts
        from int_plan_periods
        where is_unpriced and valid_to is null
        group by plan_id
        order by accounts desc, plan_id
        limit 20
        """,
    )


def unknown_event_types(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """sender_event, events, last_received_at: stored events of no known type, most first."""
    return frame_of(
        connection,
        """
        select sender_event, count(*) as events, max(received_at) as last_received_at
        from events
        where event_type = 'other'
        group by sender_event
        order by events desc, sender_event
        limit 100
        """,
    )


def waiting_deletions(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row: deletions, of workspaces that no event with an account names."""
    return frame_of(
        connection,
        """
        select count(*) as deletions
        from events
        where
            event_type = 'workspace_deleted'
            and account_id is null
            and workspace_id in (select workspace_id from hooklake_inner.waiting)
        """,
    )


def public_columns(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """table_name, table_description, column_name, type, description: all that is published.

    `events` comes first, then the tables by name, columns in their order. Descriptions come as
    plain text, without the backticks around names.
    """
    return frame_of(
        connection,
        """
        with described as (
            select table_name, comment from duckdb_tables()
            where schema_name = 'main' and database_name = current_database()
            union all
            select view_name, comment from duckdb_views()
            where schema_name = 'main' and database_name = current_database() and not internal
        )

        select
            columns.table_name,
            replace(described.comment, '`', '') as table_description,
            columns.column_name,
            columns.data_type as type,
            replace(columns.comment, '`', '') as description
        from duckdb_columns() as columns
        inner join described on columns.table_name = described.table_name
        where columns.schema_name = 'main' and columns.database_name = current_database()
        order by columns.table_name <> 'events', columns.table_name, columns.column_index
        """,
    )
