-- One row per account that ever paid and stretch of judged periods in which it was
-- paying: period numbers [first_period, end_period). Period 0 is judged at the first
-- paid instant, period n >= 1 n calendar months and 4 days later, up to 24.
with

periods as (

    select * from {{ account_ref('int_paid_periods') }}

),

-- Grain: account.
first_paid as (

    select
        account_id,
        currency,
        from_us as cohort_us,
    from periods
    qualify row_number() over (
        partition by account_id order by from_us, event_number
    ) = 1

),

cohorts as (

    select
        account_id,
        currency,
        cohort_us,
        {{ calendar_parts('cohort_us', 'cohort') }},
    from first_paid

),

-- Grain: start or end of a period.
edges as (

    select
        account_id,
        currency,
        from_us as edge_us,
        1 as paid_change,
        mrr as mrr_change,
    from periods
    union all
    select
        account_id,
        currency,
        to_us as edge_us,
        -1 as paid_change,
        -mrr as mrr_change,
    from periods
    where to_us is not null

),

-- The last instant that is judged before the edge, without its four days.
dated_edges as (

    select
        *,
        {{ calendar_parts('(edge_us - 1 - ' ~ days_us(4) ~ ')', 'judged') }},
    from edges

),

-- The first period judged at the edge or after it.
numbered_edges as (

    select
        cohorts.account_id,
        case
            when dated_edges.edge_us = cohorts.cohort_us then 0
            else least(25, 1 + greatest(0, {{ months_passed(
                'cohorts.cohort', 'dated_edges.judged'
            ) }}))
        end as period_number,
        dated_edges.paid_change,
        case
            when dated_edges.currency = cohorts.currency then dated_edges.mrr_change
            else 0
        end as mrr_change,
    from cohorts
    inner join dated_edges on cohorts.account_id = dated_edges.account_id

),

-- Grain: account and period that differs from the one before.
steps as (

    select
        account_id,
        period_number,
        sum(paid_change) as paid_change,
        sum(mrr_change) as mrr_change,
    from numbered_edges
    where period_number < 25
    group by account_id, period_number
    having sum(paid_change) <> 0 or sum(mrr_change) <> 0

),

spans as (

    select
        account_id,
        period_number as first_period,
        coalesce(lead(period_number) over account_order, 25) as end_period,
        sum(paid_change) over account_order as paid_plans,
        sum(mrr_change) over account_order as mrr,
    from steps
    window account_order as (partition by account_id order by period_number)

)

select
    spans.account_id,
    cohorts.currency,
    cohorts.cohort_month_number,
    cohorts.cohort_day,
    cohorts.cohort_time_us,
    spans.first_period,
    spans.end_period,
    cast(spans.mrr as decimal(18, 2)) as mrr,
from spans
inner join cohorts on spans.account_id = cohorts.account_id
where spans.paid_plans > 0
