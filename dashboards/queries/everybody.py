"""The list of accounts, and what it can be narrowed by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from dashboards.filters import Filters
from dashboards.queries.asking import FROM_SOURCES, LIST_ROWS_MAX, frame_of


def plans(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """plan_id, accounts: the plans accounts pay for now, the most common first."""
    return frame_of(
        connection,
        """
        select current_plan_id as plan_id, count(*) as accounts
        from dim_accounts
        where current_plan_id is not null
        group by plan_id
        order by accounts desc, plan_id
        limit 200
        """,
    )


def lifecycle_counts(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """lifecycle, accounts: where everybody is now."""
    return frame_of(
        connection,
        f"""
        select lifecycle, count(*) as accounts
        from dim_accounts
        where true {FROM_SOURCES if filters.sources else ""}
        group by lifecycle
        order by lifecycle
        """,
        filters,
    )


def accounts(
    connection: duckdb.DuckDBPyConnection,
    filters: Filters,
    search: str = "",
    lifecycles: Sequence[str] = (),
    plan_ids: Sequence[str] = (),
    is_overdue: bool = False,
    rows: int = LIST_ROWS_MAX,
) -> pl.DataFrame:
    """Accounts that fit, the last active first; `total` says how many there are.

    search: part of the e-mail address, or a whole workspace id; an empty choice is no condition.
    """
    clauses = [FROM_SOURCES if filters.sources else ""]
    if search:
        clauses.append(
            """
            and (
                contains(account_id, lower($search))
                or account_id = $owner
                or account_id in (
                    select account_id from int_plan_periods where subscription_id = $search
                    union all
                    select account_id from fct_overdue_episodes where workspace_id = $search
                )
            )"""
        )
    if lifecycles:
        clauses.append("and list_contains($lifecycles, lifecycle)")
    if plan_ids:
        clauses.append("and list_contains($plan_ids, current_plan_id)")
    if is_overdue:
        clauses.append("and open_overdue > 0")
    fitting = f"from dim_accounts where true {' '.join(clauses)}"
    values = {
        "search": search.strip(),
        "owner": _owner(connection, search.strip()) if search else None,
        "lifecycles": list(lifecycles),
        "plan_ids": list(plan_ids),
        "rows": rows,
    }
    since = None
    if not search:
        since = _last_one_active(connection, fitting, filters, values)
    return frame_of(
        connection,
        f"""
        select
            account_id,
            lifecycle,
            coalesce(source, 'unknown') as source,
            registered_at,
            first_paid_at,
            current_plan_id,
            auto_renew,
            period_end,
            mrr::double as mrr,
            currency,
            workspaces_live,
            workspaces_total,
            open_overdue,
            last_event_at,
            (select count(*) {fitting}) as total
        {fitting} {"" if since is None else "and last_event_at >= $since"}
        order by last_event_at desc nulls last, account_id
        limit $rows
        """,
        filters,
        since=since,
        **values,
    )


def _owner(connection: duckdb.DuckDBPyConnection, workspace_id: str) -> str | None:
    """Whose workspace it is, None where no event names it: the first account to be named with it.

    Of a workspace that was created and no more, the events alone tell.
    """
    found = frame_of(
        connection,
        """
        select account_id
        from events
        where workspace_id = $workspace_id and account_id is not null and event_type <> 'other'
        order by occurred_at, received_at, node, seq
        limit 1
        """,
        workspace_id=workspace_id,
    )
    return found["account_id"][0] if found.height else None


def _last_one_active(
    connection: duckdb.DuckDBPyConnection, fitting: str, filters: Filters, values: dict[str, Any]
) -> datetime | None:
    """When the last account of a full list was active, None where every fitting one is in it.

    Found from one column; the whole rows of all who fit would be read to leave most of them out.
    """
    newest = frame_of(
        connection,
        f"select last_event_at {fitting} order by last_event_at desc nulls last limit $rows",
        filters,
        **values,
    )
    if newest.height < values["rows"]:
        return None
    last: datetime | None = newest["last_event_at"][-1]
    return last
