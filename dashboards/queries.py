"""Every question the pages ask of the published warehouse, and no other SQL in this package.

Each function takes an open read-only connection and returns a polars frame, always with its
columns even when it has no row. Values are bound, never written into the text; the one thing that
is put together is a constant clause for "these sources only". Amounts are DOUBLE here, for
drawing; the exact DECIMAL is in the tables. Money of different currencies is never added up:
every amount has its currency beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import duckdb
import polars as pl

from dashboards.filters import Filters
from dashboards.people import People

LIST_ROWS_MAX: Final = 1_000
EXPORT_ROWS_MAX: Final = 100_000
WINDOWS: Final = (14, 30, 90)
_PARAMETER = re.compile(r"\$([a-z_]+)")

# The UTC day of an instant. A cast does the same through the time zone library, ten times slower.
_DAY: Final = "('1970-01-01'::date + (epoch_us({}) // 86400000000)::integer)"

_OF_SOURCES: Final = """
    and account_id in (
        select account_id
        from dim_accounts
        where list_contains($sources, coalesce(source, 'unknown'))
    )"""
_IN_SOURCES: Final = "and list_contains($sources, source)"
_IN_SOURCES_IF_ANY: Final = (
    "and (len($sources::varchar[]) = 0 or list_contains($sources::varchar[], source))"
)
_FROM_SOURCES: Final = "and list_contains($sources, coalesce(source, 'unknown'))"


def _largest_sources(first_day: str, last_day: str, condition: str) -> str:
    """Those a chart of registrations names, each for itself; all others are together."""
    return f"""
        select source
        from mart_funnel_daily
        where cohort_date between {first_day} and {last_day} {condition}
        group by source
        order by sum(registered) desc, source
        limit 7
    """


# Whom a cell of a chart is about (people.py); $cell holds its parts.
_PEOPLE: Final = {
    "registered": """
        select account_id
        from fct_registration_funnel
        where
            $cell[1] in ('', source)
            and registered_at >= $cell[2]::timestamptz
            and registered_at < ($cell[3]::date + 1)::timestamptz
    """,
    "others": f"""
        select account_id
        from fct_registration_funnel
        where
            registered_at >= $cell[1]::timestamptz
            and registered_at < ($cell[2]::date + 1)::timestamptz
            and source not in (
                {_largest_sources("$cell[3]::date", "$cell[4]::date", _IN_SOURCES_IF_ANY)}
            )
    """,
    "converted": """
        select account_id
        from fct_registration_funnel
        where
            $cell[2] in ('', source)
            and registered_at >= $cell[3]::timestamptz
            and registered_at < ($cell[4]::date + 1)::timestamptz
            and registered_at <= (select as_of from hooklake.build) - to_days($cell[1]::integer)
            and paid_at < registered_at + to_days($cell[1]::integer)
    """,
    "paid-by": """
        select account_id
        from fct_registration_funnel
        where
            seconds_to_paid // 86400 <= $cell[1]::integer
            and registered_at >= $cell[2]::timestamptz
            and registered_at < ($cell[3]::date + 1)::timestamptz
    """,
    "paying": """
        select account_id
        from int_plan_periods
        where
            is_paid
            and currency = $cell[1]
            and valid_from < ($cell[2]::date + 1)::timestamptz
            and (valid_to is null or valid_to >= ($cell[2]::date + 1)::timestamptz)
    """,
    "recovered": """
        select account_id
        from fct_overdue_episodes
        where
            status = 'recovered'
            and coalesce(cause, '') = $cell[1]
            and opened_at >= $cell[2]::timestamptz
            and opened_at < ($cell[3]::date + 1)::timestamptz
            and opened_at <= (select as_of from hooklake.build) - interval 720 hours
            and closed_at < opened_at + interval 720 hours
    """,
    "funnel": """
        select account_id
        from fct_registration_funnel
        where
            registered_at >= $cell[2]::timestamptz
            and registered_at < ($cell[3]::date + 1)::timestamptz
            and case $cell[1]
                when 'workspace' then workspace_at is not null
                when 'paid' then paid_at is not null
                when 'renewed' then renewed_at is not null
                else true
            end
    """,
    "retention": """
        with firsts as (
            select
                account_id,
                min(valid_from) as began,
                arg_min(currency, valid_from) as currency
            from int_plan_periods
            where is_paid
            group by account_id
        ),

        judged as (
            select
                account_id,
                began + to_months($cell[2]::integer)
                + case when $cell[2] = '0' then interval 0 days else interval 4 days end as moment
            from firsts
            where
                ($cell[1] = '' or date_trunc('month', began)::date = try_cast($cell[1] as date))
                and $cell[3] in ('', currency)
        )

        select judged.account_id
        from judged
        inner join int_plan_periods as periods
            on
                judged.account_id = periods.account_id
                and periods.valid_from <= judged.moment
                and (periods.valid_to is null or periods.valid_to > judged.moment)
        where
            periods.is_paid
            and judged.moment <= (select as_of from hooklake.build)
    """,
    "flow": """
        select account_id
        from fct_plan_changes
        where
            coalesce(from_plan_id, '') = $cell[1]
            and coalesce(to_plan_id, '') = $cell[2]
            and changed_at >= $cell[3]::timestamptz
            and changed_at < ($cell[4]::date + 1)::timestamptz
    """,
    "ageing": """
        select account_id
        from fct_overdue_episodes
        where
            status = 'open'
            and ageing_bucket = $cell[1]
            and cause = $cell[2]
            and $cell[3] in ('', currency)
    """,
    "cancel": """
        select account_id
        from fct_plan_changes
        where
            change_type = 'cancel'
            and cause = $cell[1]
            and changed_at >= $cell[2]::timestamptz
            and changed_at < ($cell[3]::date + 1)::timestamptz
    """,
    "movement": """
        select account_id
        from fct_plan_changes
        where
            mrr_movement = $cell[1]
            and currency = $cell[2]
            and changed_at >= $cell[3]::timestamptz
            and changed_at < ($cell[4]::date + 1)::timestamptz
    """,
}


def sources(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """source, registered: every registration source, the largest first."""
    return _frame(
        connection,
        """
        select source, sum(registered)::bigint as registered
        from mart_funnel_daily
        group by source
        order by registered desc, source
        """,
    )


def coverage(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row: accounts, first_registration (date, NULL without one)."""
    return _frame(
        connection,
        """
        select
            (select count(*) from dim_accounts) as accounts,
            (select min(cohort_date) from mart_funnel_daily) as first_registration
        """,
    )


def unpriced_plans(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """plan_id, accounts: plans somebody is on now that the catalogue does not price."""
    return _frame(
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


def funnel_by_day(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """cohort_date, the four steps, matured_W and paid_W: this period and the one before it.

    One row per day that has registrations, ordered.
    """
    return _frame(
        connection,
        f"""
        select cohort_date, {_FUNNEL_SUMS}
        from mart_funnel_daily
        where
            cohort_date between $previous_first_day and $last_day
            {_IN_SOURCES if filters.sources else ""}
        group by cohort_date
        order by cohort_date
        """,
        filters,
    )


def funnel_by_source(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """source, the four steps, matured_W and paid_W of the period; the largest source first."""
    return _frame(
        connection,
        f"""
        select source, {_FUNNEL_SUMS}
        from mart_funnel_daily
        where
            cohort_date between $first_day and $last_day
            {_IN_SOURCES if filters.sources else ""}
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
    return _frame(
        connection,
        f"""
        with largest as (
            {_largest_sources("$first_day", "$last_day", _IN_SOURCES if filters.sources else "")}
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
            {_IN_SOURCES if filters.sources else ""}
        group by all
        order by bucket, registered desc
        """,
        filters,
    )


def time_to_paid(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """window (`now` or `before`), paid, median_seconds, p90_seconds: who registered then."""
    return _frame(
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
            {_IN_SOURCES if filters.sources else ""}
        group by all
        """,
        filters,
    )


def days_to_paid(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """day (0..90), paid: how many of the period's registrations paid on that day after it.

    Day 90 holds everything later as well.
    """
    return _frame(
        connection,
        f"""
        select least(seconds_to_paid // 86400, 90)::integer as day, count(*) as paid
        from fct_registration_funnel
        where
            seconds_to_paid is not null
            and registered_at >= $starts_at
            and registered_at < $ends_before
            {_IN_SOURCES if filters.sources else ""}
        group by day
        order by day
        """,
        filters,
    )


def mrr_deltas(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """day, currency, delta: monthly recurring revenue won and lost on each day up to the last.

    Everything before the period is in one row a currency, dated the day before the period.
    """
    return _frame(
        connection,
        f"""
        select
            greatest(day, $first_day - 1) as day,
            currency,
            sum(mrr_delta)::double as delta
        from mart_mrr_daily
        where day <= $last_day {_IN_SOURCES if filters.sources else ""}
        group by all
        order by day, currency
        """,
        filters,
    )


def paying_deltas(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """day, delta: accounts that began or ceased to pay on each day, whatever the currency.

    Everything before the period is in one row, dated the day before the period.
    """
    return _frame(
        connection,
        f"""
        select
            greatest(day, $first_day - 1) as day,
            sum(paying_delta)::bigint as delta
        from mart_mrr_daily
        where day <= $last_day {_IN_SOURCES if filters.sources else ""}
        group by all
        order by day
        """,
        filters,
    )


def churn_by_day(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """day, currency, accounts, mrr: accounts that ceased to pay in a currency, and their MRR.

    Covers this period and the one before it.
    """
    return _counted_changes(
        connection,
        filters,
        columns="day, currency",
        sums="sum(changes)::bigint as accounts, -sum(account_mrr_delta)::double as mrr",
        condition="mrr_movement = 'churn' and day >= $previous_first_day",
    )


def overdue_balance(
    connection: duckdb.DuckDBPyConnection, filters: Filters, moments: Sequence[datetime]
) -> pl.DataFrame:
    """moment, currency, episodes, amount, unstated: what was open at each of those instants.

    unstated: episodes whose amount no notice stated; they add nothing to amount.
    """
    return _frame(
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
        where true {_OF_SOURCES if filters.sources else ""}
        group by all
        order by moment, episodes desc, currency
        """,
        filters,
        moments=list(moments),
    )


def happened_counts(
    connection: duckdb.DuckDBPyConnection, filters: Filters, as_of: datetime
) -> pl.DataFrame:
    """what, now, before: how often each thing happened in the last 24 hours and the 24 before."""
    return _frame(
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
        where happened_at <= $as_of {_OF_SOURCES if filters.sources else ""}
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
    return _frame(
        connection,
        f"""
        with happened as (
            select registered_at as happened_at, 'registered' as what, account_id, source as detail
            from fct_registration_funnel
            where registered_at > $as_of - interval 24 hours
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
        where happened_at <= $as_of {_OF_SOURCES if filters.sources else ""}
        order by happened_at desc, account_id, what
        limit $rows
        """,
        filters,
        as_of=as_of,
        rows=rows,
    )


def change_counts(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """window (`now` or `before`), day, change_type, changes: this period and the one before."""
    return _counted_changes(
        connection,
        filters,
        columns="case when day >= $first_day then 'now' else 'before' end as \"window\","
        " day, change_type",
        sums="sum(changes)::bigint as changes",
        condition="day >= $previous_first_day",
    )


def movements(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """month (date), currency, movement, amount (signed), changes: what moved MRR each month."""
    return _counted_changes(
        connection,
        filters,
        columns="date_trunc('month', day)::date as month, currency, mrr_movement as movement",
        sums="sum(account_mrr_delta)::double as amount, sum(changes)::bigint as changes",
        condition="mrr_movement <> 'none' and currency is not null and day >= $first_day",
    )


def plan_flows(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """from_plan, to_plan, from_tier, to_tier, changes, from_plan_id, to_plan_id: who went where.

    No plan at all is `no plan` and has tier -1; a plan outside the catalogue is last.
    """
    return _frame(
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
                {_IN_SOURCES if filters.sources else ""}
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
    return _counted_changes(
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

    is_whole: with end_date and subscription_id too. Names are what a list takes longest to read.
    """
    return _frame(
        connection,
        f"""
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
                    {_IN_SOURCES if filters.sources else ""}
            ) as total
        from fct_plan_changes
        where
            change_type in (select unnest($change_types::varchar[]))
            and changed_at >= $starts_at
            and changed_at < $ends_before
            {_IN_SOURCES if filters.sources else ""}
        order by changed_at desc, change_id
        limit $rows
        """,
        filters,
        change_types=list(change_types),
        rows=rows,
    )


def overdue_ageing(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """ageing_bucket, cause, currency, episodes, amount: all that is open now."""
    if not filters.sources:
        return _frame(
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
    return _frame(
        connection,
        f"""
        select
            ageing_bucket,
            cause,
            currency,
            count(*) as episodes,
            coalesce(sum(amount), 0)::double as amount
        from fct_overdue_episodes
        where status = 'open' {_OF_SOURCES}
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
    return _frame(
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
            {_OF_SOURCES if filters.sources else ""}
            ) as total
        from fct_overdue_episodes
        where
            status = 'open'
            and list_contains($causes, cause)
            {_OF_SOURCES if filters.sources else ""}
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
    return _frame(
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
                {_OF_SOURCES if filters.sources else ""}
        )

        select
            date_trunc('month', {_DAY.format("opened_at")})::date as month,
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
    return _frame(
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
            {_OF_SOURCES if filters.sources else ""}
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
            {_OF_SOURCES if filters.sources else ""}
    """
    return _frame(
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


def revenue_by_month(connection: duckdb.DuckDBPyConnection, filters: Filters) -> pl.DataFrame:
    """mart_mrr_monthly of the months the period touches, newest first, with its rates.

    nrr, grr and logo_churn are 0..1 or more, and arpa an amount; NULL over nothing.
    """
    return _frame(
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
    return _frame(
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


def plans(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """plan_id, accounts: the plans accounts pay for now, the most common first."""
    return _frame(
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
    return _frame(
        connection,
        f"""
        select lifecycle, count(*) as accounts
        from dim_accounts
        where true {_FROM_SOURCES if filters.sources else ""}
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
    people: People | None = None,
    rows: int = LIST_ROWS_MAX,
) -> pl.DataFrame:
    """Accounts that fit, the last active first; `total` says how many there are.

    search: part of the e-mail address, or a whole workspace id; an empty choice is no condition.
    people: those behind one cell of a chart.
    """
    clauses = [_FROM_SOURCES if filters.sources else ""]
    if people is not None:
        clauses.append(f"and account_id in ({_PEOPLE[people.kind]})")
    if search:
        clauses.append(
            """
            and (
                contains(account_id, lower($search))
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
        "lifecycles": list(lifecycles),
        "plan_ids": list(plan_ids),
        "cell": [] if people is None else list(people.parts),
        "rows": rows,
    }
    since = None
    if people is None and not search:
        since = _last_one_active(connection, fitting, filters, values)
    return _frame(
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


def _last_one_active(
    connection: duckdb.DuckDBPyConnection, fitting: str, filters: Filters, values: dict[str, Any]
) -> datetime | None:
    """When the last account of a full list was active, None where every fitting one is in it.

    Found from one column; the whole rows of all who fit would be read to leave most of them out.
    """
    newest = _frame(
        connection,
        f"select last_event_at {fitting} order by last_event_at desc nulls last limit $rows",
        filters,
        **values,
    )
    if newest.height < values["rows"]:
        return None
    last: datetime | None = newest["last_event_at"][-1]
    return last


def account(connection: duckdb.DuckDBPyConnection, account_id: str) -> pl.DataFrame:
    """The account's row of dim_accounts with its steps of the funnel; no row for a stranger.

    workspace_at, paid_at and renewed_at are NULL without a registration; last_cancel_at and
    last_cancel_cause are of the last time one of its plans ceased to be paid.
    """
    return _frame(
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
            accounts.* replace (accounts.mrr::double as mrr),
            funnel.workspace_at,
            funnel.paid_at,
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

    An event that names one of its workspaces and no account is its event too. Bodies are the bulk
    of the lake, so they are left unread here: see event_body.
    """
    return _frame(
        connection,
        """
        with stated as materialized (
            select * exclude (payload) from events where account_id = $account_id
        ),

        silent as (
            select * exclude (payload)
            from events
            where
                event_type = 'workspace_deleted'
                and account_id is null
                and workspace_id in (select workspace_id from stated)
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
        from (select * from stated union all select * from silent)
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
    return _frame(
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
    return _frame(
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
    return _frame(
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


def unknown_event_types(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """sender_event, events, last_received_at: stored events of no known type, most first."""
    return _frame(
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
    return _frame(
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

    `events` comes first, then the tables by name, columns in their order.
    """
    return _frame(
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
            described.comment as table_description,
            columns.column_name,
            columns.data_type as type,
            columns.comment as description
        from duckdb_columns() as columns
        inner join described on columns.table_name = described.table_name
        where columns.schema_name = 'main' and columns.database_name = current_database()
        order by columns.table_name <> 'events', columns.table_name, columns.column_index
        """,
    )


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


def _counted_changes(
    connection: duckdb.DuckDBPyConnection,
    filters: Filters,
    *,
    columns: str,
    sums: str,
    condition: str,
) -> pl.DataFrame:
    """Plan changes up to the period's last day, counted by `columns` and in their order."""
    return _frame(
        connection,
        f"""
        select {columns}, {sums}
        from mart_plan_changes_daily
        where
            {condition}
            and day <= $last_day
            {_IN_SOURCES if filters.sources else ""}
        group by all
        order by all
        """,
        filters,
    )


def _frame(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    filters: Filters | None = None,
    **values: Any,
) -> pl.DataFrame:
    """The result of one query, with those of the values bound that its text names."""
    if filters is not None:
        values |= {
            "first_day": filters.first_day,
            "last_day": filters.last_day,
            "previous_first_day": filters.previous_first_day,
            "starts_at": filters.starts_at,
            "ends_before": filters.ends_before,
            "previous_starts_at": filters.previous_starts_at,
            "grain": filters.grain,
            "sources": list(filters.sources),
        }
    named = set(_PARAMETER.findall(sql))
    bound = {name: value for name, value in values.items() if name in named}
    frame: pl.DataFrame = connection.sql(sql, params=bound).pl()
    return frame
