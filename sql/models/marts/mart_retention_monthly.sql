-- One row per month of first payment, currency of the first paid plan and period 0..24.
with

-- Grain: one row. What was judged by as_of: instants up to four days ago.
clock as (

    select {{ calendar_parts(
        '(' ~ microseconds(as_of()) ~ ' - ' ~ days_us(4) ~ ')', 'judged'
    ) }},

),

spans as (

    select
        spans.*,
        least(24, greatest(0, {{ months_passed('spans.cohort', 'clock.judged') }}))
            as last_matured,
    from {{ ref('int_retention_spans') }} as spans
    cross join clock

),

-- Grain: cohort and the last period its accounts have matured for. Everybody pays in
-- period 0.
matured_last as (

    select
        cohort_month_number,
        currency,
        last_matured as period_number,
        count(*) as accounts,
        sum(mrr) as mrr,
    from spans
    where first_period = 0
    group by cohort_month_number, currency, last_matured

),

-- Grain: cohort and period from which more or fewer pay than in the one before.
turns as (

    select
        cohort_month_number,
        currency,
        first_period as period_number,
        count(*) as accounts,
        sum(mrr) as mrr,
    from spans
    where first_period <= last_matured
    group by cohort_month_number, currency, first_period
    union all
    select
        cohort_month_number,
        currency,
        least(end_period, last_matured + 1) as period_number,
        -count(*) as accounts,
        -sum(mrr) as mrr,
    from spans
    where first_period <= last_matured
    group by cohort_month_number, currency, least(end_period, last_matured + 1)

),

turned as (

    select
        cohort_month_number,
        currency,
        period_number,
        sum(accounts) as accounts,
        sum(mrr) as mrr,
    from turns
    group by cohort_month_number, currency, period_number

),

cohorts as (

    select
        cohort_month_number,
        currency,
        sum(accounts) as cohort_size,
    from matured_last
    group by cohort_month_number, currency

),

dense as (

    select
        *,
        {{ numbers_between(0, 24) }} as period_number,
    from cohorts

),

counted as (

    select
        dense.*,
        coalesce(
            sum(matured_last.accounts) over from_here, 0
        ) as matured,
        coalesce(sum(matured_last.mrr) over from_here, 0) as mrr_start,
        sum(turned.accounts) over until_here as retained,
        sum(turned.mrr) over until_here as mrr_retained,
    from dense
    left join matured_last
        on
            dense.cohort_month_number = matured_last.cohort_month_number
            and dense.currency = matured_last.currency
            and dense.period_number = matured_last.period_number
    left join turned
        on
            dense.cohort_month_number = turned.cohort_month_number
            and dense.currency = turned.currency
            and dense.period_number = turned.period_number
    window
        from_here as (
            partition by dense.cohort_month_number, dense.currency
            order by dense.period_number
            rows between current row and unbounded following
        ),
        until_here as (
            partition by dense.cohort_month_number, dense.currency
            order by dense.period_number
            rows between unbounded preceding and current row
        )

)

select
    {{ month_start('cohort_month_number') }} as cohort_month,
    currency,
    cast(period_number as integer) as period_number,
    cast(cohort_size as bigint) as cohort_size,
    cast(matured as bigint) as matured,
    cast(case when matured > 0 then retained end as bigint) as retained,
    cast(mrr_start as decimal(18, 2)) as mrr_start,
    cast(case when matured > 0 then mrr_retained end as decimal(18, 2))
        as mrr_retained,
from counted
