"""Which rows of the aggregates count an account, and which of them rest on one event of it.

An aggregate carries no account: its rows are found by what the account's own facts, published
beside it, say of day, month, source, currency and so on. A row is named by the columns that tell it
from others of its table; all 25 periods of a retention cohort are named by the cohort alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import duckdb


@dataclass(frozen=True)
class Counted:
    """A row that counts the account. of_event: whether a fact in it rests on the event itself;
    None where the facts do not say on which events they rest."""

    table: str
    row: dict[str, str | None]
    of_event: bool | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_PLAN_CHANGES: Final = """
select
    cast(changed_at as date) as day, source, change_type, from_plan_id, to_plan_id, cause,
    currency, mrr_movement, bool_or(event_id = $event_id) as of_event
from main.fct_plan_changes
where account_id = $account
group by all order by all"""
_FUNNEL: Final = """
select
    cohort_date, source,
    coalesce(
        case $event_type
            when 'user_registered' then registered_at = $occurred_at
            when 'workspace_created' then workspace_at = $occurred_at
            when 'plan_changed' then paid_at = $occurred_at
            when 'plan_renewed' then $occurred_at in (paid_at, renewed_at)
        end, false) as of_event
from main.fct_registration_funnel
where account_id = $account"""
_MOVEMENTS: Final = """
with

movements as (
    select
        moved.*, coalesce(changes.event_id = $event_id, false) as of_event
    from hooklake_inner.int_mrr_movements as moved
    left join main.fct_plan_changes as changes
        on
            moved.account_id = changes.account_id
            and moved.subscription_id = changes.subscription_id
            and moved.occurred_at = changes.changed_at
    where moved.account_id = $account
)
"""
_MRR_DAILY: Final = f"""{_MOVEMENTS}
select cast(occurred_at as date) as day, currency, source, bool_or(of_event) as of_event
from movements
group by all order by all"""
# From each movement to the next one, or to the month of as_of while anything is left.
_MRR_MONTHLY: Final = f"""{_MOVEMENTS},
spans as (
    select
        currency, month_number, of_event,
        coalesce(
            lead(month_number) over (partition by currency order by movement_number),
            case
                when paid_after = 0 and account_mrr_after = 0 then month_number
                else (select 12 * year(as_of) + month(as_of) - 1 from hooklake.build)
            end) as last_month_number
    from movements),
months as (
    select
        currency, month_number as moved_in, of_event,
        unnest(range(month_number, last_month_number + 1)) as month_number
    from spans)
select
    make_date(cast(month_number // 12 as integer), cast(month_number % 12 + 1 as integer), 1)
        as month,
    currency, bool_or(of_event and month_number = moved_in) as of_event
from months
group by all order by all"""
_EPISODES: Final = """
with

episodes as (
    select
        *,
        coalesce(payment_id = $payment_id, true) and coalesce(workspace_id = $workspace_id, true)
        and coalesce(
            $occurred_at = closed_at or (
                $event_type = 'overdue_payment'
                and $occurred_at between opened_at and last_notice_at), false) as of_event
    from main.fct_overdue_episodes
    where account_id = $account)
"""
_AGEING: Final = f"""{_EPISODES}
select ageing_bucket as bucket, cause, currency, bool_or(of_event) as of_event
from episodes
where status = 'open'
group by all order by all"""
_OVERDUE_MONTHLY: Final = f"""{_EPISODES}
select
    cast(date_trunc('month', opened_at) as date) as month, cause, currency,
    bool_or(of_event) as of_event
from episodes
group by all order by all"""
_RENEWALS: Final = """
select distinct
    cast(date_trunc('month', end_date) as date) as month, currency,
    cast(null as boolean) as of_event
from hooklake_inner.int_renewals
where account_id = $account and end_date <= (select cast(as_of as date) from hooklake.build)
order by all"""
_RETENTION: Final = """
select distinct
    make_date(
        cast(cohort_month_number // 12 as integer),
        cast(cohort_month_number % 12 + 1 as integer), 1) as cohort_month,
    currency, cast(null as boolean) as of_event
from hooklake_inner.int_retention_spans
where account_id = $account
order by all"""

AGGREGATES: Final = {
    "mart_funnel_daily": _FUNNEL,
    "mart_plan_changes_daily": _PLAN_CHANGES,
    "mart_mrr_daily": _MRR_DAILY,
    "mart_mrr_monthly": _MRR_MONTHLY,
    "mart_retention_monthly": _RETENTION,
    "mart_renewals_monthly": _RENEWALS,
    "mart_overdue_monthly": _OVERDUE_MONTHLY,
    "mart_overdue_ageing": _AGEING,
}
"""Every mart of the published warehouse, with the rows that count $account; the last column says
which of them rest on the event."""


def account_of(warehouse: duckdb.DuckDBPyConnection, event_id: str) -> str | None:
    """Whose event it is, where it says so itself or names a workspace of one account alone."""
    rows = warehouse.execute(
        "select account_id from main.events where event_id = $event_id and account_id is not null"
        " union select theirs.account_id from main.events as asked join main.events as theirs"
        " using (workspace_id) where asked.event_id = $event_id and asked.account_id is null"
        " and theirs.account_id is not null",
        {"event_id": event_id},
    ).fetchall()
    return str(rows[0][0]) if len(rows) == 1 else None


def counted(warehouse: duckdb.DuckDBPyConnection, event_id: str, account: str) -> Iterator[Counted]:
    """The rows, by table and by what names them. Nothing where the event is not published."""
    events = warehouse.execute(
        "select event_type, occurred_at, payment_id, workspace_id from main.events"
        " where event_id = ?",
        (event_id,),
    ).fetchall()
    if not events:
        return
    names = ("event_type", "occurred_at", "payment_id", "workspace_id")
    known = {"event_id": event_id, "account": account, **dict(zip(names, events[0], strict=True))}
    for table, statement in AGGREGATES.items():
        wanted = {name: value for name, value in known.items() if f"${name}" in statement}
        cursor = warehouse.execute(statement, wanted)
        columns = [column[0] for column in cursor.description][:-1]
        for *values, of_event in cursor.fetchall():
            texts = (None if value is None else as_text(value) for value in values)
            yield Counted(table, dict(zip(columns, texts, strict=True)), of_event)


def as_text(value: Any) -> str:
    """A value of a table: instants in RFC 3339, true and false, the rest as Python has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value).lower() if isinstance(value, bool) else str(value)
