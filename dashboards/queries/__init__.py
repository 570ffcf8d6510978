"""Every question the pages ask of the published warehouse, and no other SQL in this package.

Each function takes an open read-only connection and returns a polars frame, always with its
columns even when it has no row. Values are bound, never written into the text; the one thing that
is put together is a constant clause for "these sources only". Amounts are DOUBLE here, for
drawing; the exact DECIMAL is in the tables. Money of different currencies is never added up:
every amount has its currency beside it.
"""

from __future__ import annotations

from dashboards.queries.asking import EXPORT_ROWS_MAX, LIST_ROWS_MAX
from dashboards.queries.behind import rows_behind, sums_behind, total_behind, unit_of
from dashboards.queries.catalogue import (
    public_columns,
    unknown_event_types,
    unpriced_plans,
    waiting_deletions,
)
from dashboards.queries.changes import cancels_by_cause, change_counts, plan_change_list, plan_flows
from dashboards.queries.everybody import accounts, lifecycle_counts, plans
from dashboards.queries.last_day import happened_counts, happened_latest
from dashboards.queries.one_account import (
    account,
    account_episodes,
    account_events,
    account_periods,
    event_body,
)
from dashboards.queries.overdue import (
    days_to_recover,
    missing_renewals,
    open_episodes,
    overdue_ageing,
    overdue_balance,
    recovery,
)
from dashboards.queries.registrations import (
    WINDOWS,
    coverage,
    days_to_paid,
    funnel_by_day,
    funnel_by_source,
    registrations_by_bucket,
    sources,
    time_to_paid,
)
from dashboards.queries.revenue import (
    churned_by_day,
    movements,
    mrr_deltas,
    paying_deltas,
    retention,
    revenue_by_month,
)

__all__ = [
    "EXPORT_ROWS_MAX",
    "LIST_ROWS_MAX",
    "WINDOWS",
    "account",
    "account_episodes",
    "account_events",
    "account_periods",
    "accounts",
    "cancels_by_cause",
    "change_counts",
    "churned_by_day",
    "coverage",
    "days_to_paid",
    "days_to_recover",
    "event_body",
    "funnel_by_day",
    "funnel_by_source",
    "happened_counts",
    "happened_latest",
    "lifecycle_counts",
    "missing_renewals",
    "movements",
    "mrr_deltas",
    "open_episodes",
    "overdue_ageing",
    "overdue_balance",
    "paying_deltas",
    "plan_change_list",
    "plan_flows",
    "plans",
    "public_columns",
    "recovery",
    "registrations_by_bucket",
    "retention",
    "revenue_by_month",
    "rows_behind",
    "sources",
    "sums_behind",
    "time_to_paid",
    "total_behind",
    "unit_of",
    "unknown_event_types",
    "unpriced_plans",
    "waiting_deletions",
]
