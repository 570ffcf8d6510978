"""Whom a cell of a chart is about (people.py); $cell holds its parts."""

from __future__ import annotations

from typing import Final

from dashboards.queries.asking import IN_SOURCES_IF_ANY
from dashboards.queries.registrations import largest_sources

# Whom a cell of a chart is about (people.py); $cell holds its parts.
PEOPLE_BEHIND: Final = {
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
                {largest_sources("$cell[3]::date", "$cell[4]::date", IN_SOURCES_IF_ANY)}
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
