"""Which rows each kind of people.py means; $cell holds its parts, counted from 1.

Every condition is about the rows of one table. What is paid at a moment is what holds right before
it, so that a day or month begins with what the one before ended with.
"""

from __future__ import annotations

from typing import Final

from dashboards.queries.asking import IN_SOURCES_IF_ANY
from dashboards.queries.registrations import largest_sources

_AS_OF: Final = "(select as_of from hooklake.build)"


def _within(column: str, first: int) -> str:
    """The column lies in the days that two parts name, the last one included."""
    return (
        f"{column} >= $cell[{first}]::timestamptz"
        f" and {column} < ($cell[{first + 1}]::date + 1)::timestamptz"
    )


def _in_the_day_up_to(column: str) -> str:
    """The column lies in the 24 hours up to the instant that the second part names."""
    return (
        f"{column} > $cell[2]::timestamptz - interval 24 hours"
        f" and {column} <= $cell[2]::timestamptz"
    )


_HAD_THE_DAYS: Final = f"registered_at <= {_AS_OF} - to_days($cell[1]::integer)"
_HAD_30_DAYS: Final = f"opened_at <= {_AS_OF} - interval 720 hours"
_OF_SOURCE: Final = f"$cell[2] in ('', source) and {_within('registered_at', 3)}"

OF_JOURNEYS: Final = {
    "registered": f"$cell[1] in ('', source) and {_within('registered_at', 2)}",
    "others": f"""
        {_within("registered_at", 1)}
        and source not in (
            {largest_sources("$cell[3]::date", "$cell[4]::date", IN_SOURCES_IF_ANY)}
        )
    """,
    "converted": f"""
        {_OF_SOURCE} and {_HAD_THE_DAYS}
        and paid_at < registered_at + to_days($cell[1]::integer)
    """,
    "matured": f"{_OF_SOURCE} and {_HAD_THE_DAYS}",
    "maturing": f"{_OF_SOURCE} and not ({_HAD_THE_DAYS})",
    "came": f"""
        case $cell[1]
            when 'workspace' then {_in_the_day_up_to("workspace_at")}
            else {_in_the_day_up_to("registered_at")}
        end
    """,
    "paid-by": f"seconds_to_paid // 86400 <= $cell[1]::integer and {_within('registered_at', 2)}",
    "funnel": f"""
        {_within("registered_at", 2)}
        and case $cell[1]
            when 'workspace' then workspace_at is not null
            when 'paid' then paid_at is not null
            when 'renewed' then renewed_at is not null
            else true
        end
    """,
}
OF_CHANGES: Final = {
    "flow": f"""
        coalesce(from_plan_id, '') = $cell[1]
        and coalesce(to_plan_id, '') = $cell[2]
        and {_within("changed_at", 3)}
    """,
    "cancel": f"""
        change_type = 'cancel' and coalesce(cause, '') = $cell[1] and {_within("changed_at", 2)}
    """,
    "change": f"change_type = $cell[1] and {_within('changed_at', 2)}",
    "moved": f"change_type = $cell[1] and {_in_the_day_up_to('changed_at')}",
}
OF_MOVEMENTS: Final = {
    "movement": f"""
        mrr_movement <> 'none'
        and $cell[1] in ('', mrr_movement)
        and $cell[2] in ('', currency)
        and {_within("occurred_at", 3)}
    """,
    "shift": """
        mrr_movement = $cell[1]
        and currency = $cell[2]
        and occurred_at >= $cell[3]::timestamptz
        and occurred_at < $cell[3]::timestamptz + interval 1 month
    """,
}
OF_EPISODES: Final = {
    "ageing": """
        status = 'open'
        and ageing_bucket = $cell[1]
        and coalesce(cause, '') = $cell[2]
        and $cell[3] in ('', currency)
    """,
    "overdue": """
        status = 'open'
        and ($cell[1] = '' or ageing_bucket <> 'not_due')
        and $cell[2] in ('', currency)
    """,
    "open": f"""
        opened_at <= least(($cell[1]::date + 1)::timestamptz, {_AS_OF})
        and coalesce(closed_at > least(($cell[1]::date + 1)::timestamptz, {_AS_OF}), true)
    """,
    "judged": f"coalesce(cause, '') = $cell[1] and {_HAD_30_DAYS} and {_within('opened_at', 2)}",
    "recovered": f"""
        status = 'recovered'
        and coalesce(cause, '') = $cell[1]
        and {_HAD_30_DAYS}
        and closed_at < opened_at + interval 720 hours
        and {_within("opened_at", 2)}
    """,
    "returned": f"""
        status = 'recovered' and coalesce(cause, '') = $cell[1] and {_within("opened_at", 2)}
    """,
    "owed": f"""
        case $cell[1]
            when 'recovered' then status = 'recovered' and {_in_the_day_up_to("closed_at")}
            else {_in_the_day_up_to("opened_at")}
        end
    """,
}
OF_ACCOUNTS: Final = {
    "lifecycle": "$cell[1] in ('', lifecycle)",
    "unpriced": """
        account_id in (
            select account_id
            from int_plan_periods
            where is_unpriced and valid_to is null and plan_id = $cell[1]
        )
    """,
}

_AT_THE_END: Final = """
    valid_from < ($cell[{day}]::date + 1)::timestamptz
    and coalesce(valid_to >= ($cell[{day}]::date + 1)::timestamptz, true)
"""
PAYERS: Final = f"""
    select
        account_id,
        string_agg(distinct plan_id, ', ' order by plan_id) as plans,
        min(valid_from) as since
    from int_plan_periods
    where is_paid and {_AT_THE_END.format(day=1)}
    group by account_id
"""
PAYING: Final = f"""
    select
        account_id,
        currency,
        string_agg(distinct plan_id, ', ' order by plan_id) as plans,
        min(valid_from) as since,
        sum(mrr) as mrr
    from int_plan_periods
    where is_paid and currency = $cell[1] and {_AT_THE_END.format(day=2)}
    group by account_id, currency
"""


def ceased(first: str, last: str) -> str:
    """Who paid between two days and no longer at the end of the last; the days as SQL.

    is_before: paid when the first day began. ended_at: the end of the last of the paid plans.
    """
    return f"""
        select
            account_id,
            string_agg(distinct plan_id, ', ' order by plan_id) as plans,
            min(valid_from) as since,
            max(valid_to) as ended_at,
            bool_or(valid_from < {first}::date::timestamptz) as is_before
        from int_plan_periods
        where
            is_paid
            and valid_from < ({last}::date + 1)::timestamptz
            and coalesce(valid_to >= {first}::date::timestamptz, true)
        group by account_id
        having bool_and(coalesce(valid_to < ({last}::date + 1)::timestamptz, false))
    """


CEASED: Final = f"""
    select * from ({ceased("$cell[2]", "$cell[3]")}) where $cell[1] = '' or is_before
"""
# From right before the month's first instant to right before the next one's.
KEPT: Final = """
    select
        account_id,
        currency,
        coalesce(sum(mrr) filter (where is_at_start), 0) as mrr_start,
        coalesce(sum(mrr) filter (where is_at_end), 0) as mrr_end,
        least(mrr_start, mrr_end) as mrr_kept,
        bool_or(is_at_end) as is_paying
    from (
        select
            *,
            valid_from < $cell[2]::timestamptz as is_at_start,
            coalesce(valid_to >= $cell[2]::timestamptz + interval 1 month, true) as is_at_end
        from int_plan_periods
        where
            is_paid
            and currency = $cell[1]
            and valid_from < $cell[2]::timestamptz + interval 1 month
            and coalesce(valid_to >= $cell[2]::timestamptz, true)
    )
    group by account_id, currency
    having bool_or(is_at_start) {more}
"""
# Judged as mart_retention_monthly does: at the first paid instant, or months and four days later.
RETAINED: Final = """
    with firsts as (
        select
            account_id,
            min(valid_from) as first_paid_at,
            arg_min(currency, (valid_from, event_number)) as currency
        from int_plan_periods
        where is_paid
        group by account_id
    ),

    judged as (
        select
            *,
            first_paid_at + to_months($cell[2]::integer)
            + case when $cell[2] = '0' then interval 0 days else interval 4 days end as judged_at
        from firsts
        where
            (
                $cell[1] = ''
                or date_trunc('month', first_paid_at)::date = try_cast($cell[1] as date)
            )
            and $cell[3] in ('', currency)
    ),

    held as (
        select
            judged.*,
            case when periods.currency = judged.currency then periods.mrr else 0 end as mrr,
            periods.valid_from <= judged.first_paid_at
            and coalesce(periods.valid_to > judged.first_paid_at, true) as is_at_first,
            periods.valid_from <= judged.judged_at
            and coalesce(periods.valid_to > judged.judged_at, true) as is_then
        from judged
        inner join int_plan_periods as periods on judged.account_id = periods.account_id
        where periods.is_paid and judged.judged_at <= (select as_of from hooklake.build)
    )

    select
        account_id,
        first_paid_at,
        judged_at,
        currency,
        coalesce(sum(mrr) filter (where is_at_first), 0) as mrr_start,
        coalesce(sum(mrr) filter (where is_then), 0) as mrr_then,
        bool_or(is_then) as is_paying
    from held
    group by account_id, first_paid_at, judged_at, currency
    {having}
"""
