"""All that is known of one account."""

from __future__ import annotations

import duckdb
import polars as pl

from dashboards.queries.asking import LIST_ROWS_MAX, frame_of


def account(connection: duckdb.DuckDBPyConnection, account_id: str) -> pl.DataFrame:
    """The account's row of dim_accounts with its steps of the funnel; no row for a stranger.

    workspace_at and renewed_at are NULL without a registration; first_paid_at is the funnel's
    paid_at where no plan was ever paid, since a renewal proves payment; last_cancel_at and
    last_cancel_cause are of the last time one of its plans ceased to be paid.
    """
    return frame_of(
        connection,
        """
        with funnel as (
            select workspace_at, paid_at, renewed_at
            from fct_registration_funnel
            where account_id = $account_id
        ),

        last_cancel as (
            select changed_at, cause
            from fct_plan_changes
            where account_id = $account_id and change_type = 'cancel'
            order by changed_at desc, change_id desc
            limit 1
        )

        select
            accounts.* replace (
                accounts.mrr::double as mrr,
                coalesce(accounts.first_paid_at, funnel.paid_at) as first_paid_at
            ),
            funnel.workspace_at,
            funnel.renewed_at,
            last_cancel.changed_at as last_cancel_at,
            last_cancel.cause as last_cancel_cause
        from (select * from dim_accounts where account_id = $account_id) as accounts
        left join funnel on true
        left join last_cancel on true
        """,
        account_id=account_id,
    )


def account_events(
    connection: duckdb.DuckDBPyConnection, account_id: str, rows: int = LIST_ROWS_MAX
) -> pl.DataFrame:
    """Every stored event of the account, newest first, without bodies; `total` counts them all.

    An event that names one of its workspaces, and no account or another, is its event too; a
    workspace is of the first account named with it. Bodies are the bulk of the lake, so they are
    left unread here: see event_body.
    """
    return frame_of(
        connection,
        """
        with stated as materialized (
            select * exclude (payload) from events where account_id = $account_id
        ),

        named as materialized (
            select * exclude (payload)
            from events
            where
                event_type <> 'other'
                and workspace_id in (select workspace_id from stated)
        ),

        own as (
            select workspace_id
            from named
            where account_id is not null
            group by workspace_id
            having arg_min(account_id, (occurred_at, received_at, node, seq)) = $account_id
        ),

        also as (
            select *
            from named
            where
                account_id is distinct from $account_id
                and workspace_id in (select workspace_id from own)
        )

        select
            occurred_at,
            event_type,
            workspace_id,
            workspace_name,
            plan_id,
            source,
            amount::double as amount,
            currency,
            auto_renew,
            start_date,
            end_date,
            renewal_date,
            due_date,
            payment_id,
            sender_event,
            event_time_source,
            received_at,
            origin,
            delivery_id,
            event_month,
            event_id,
            count(*) over () as total
        from (select * from stated union all select * from also)
        order by occurred_at desc, received_at desc, node desc, seq desc
        limit $rows
        """,
        account_id=account_id,
        rows=rows,
    )


def event_body(
    connection: duckdb.DuckDBPyConnection, event_id: str, event_type: str, event_month: str
) -> pl.DataFrame:
    """payload: the bytes of one event as received; type and month say which files to read."""
    return frame_of(
        connection,
        """
        select payload
        from events
        where
            event_type = $event_type
            and event_month = $event_month
            and event_id = $event_id
        limit 1
        """,
        event_id=event_id,
        event_type=event_type,
        event_month=event_month,
    )


def account_periods(connection: duckdb.DuckDBPyConnection, account_id: str) -> pl.DataFrame:
    """Its plan periods, newest first."""
    return frame_of(
        connection,
        """
        select
            subscription_id, plan_id, valid_from, valid_to, is_paid, is_unpriced,
            mrr::double as mrr, currency
        from int_plan_periods
        where account_id = $account_id
        order by valid_from desc, subscription_id
        limit $rows
        """,
        account_id=account_id,
        rows=LIST_ROWS_MAX,
    )


def account_episodes(connection: duckdb.DuckDBPyConnection, account_id: str) -> pl.DataFrame:
    """Its overdue episodes, newest first."""
    return frame_of(
        connection,
        """
        select
            opened_at, status, cause, amount::double as amount, currency, due_date, days_overdue,
            closed_at, days_to_close, notices, last_notice_at, workspace_id, payment_id
        from fct_overdue_episodes
        where account_id = $account_id
        order by opened_at desc, episode_id
        limit $rows
        """,
        account_id=account_id,
        rows=LIST_ROWS_MAX,
    )
