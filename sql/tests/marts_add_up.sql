-- The aggregates hold everybody once. One row per sum that is not what it should be,
-- and per aggregate with rows that cannot be.
with

open_periods as (

    select *
    from {{ ref('int_plan_periods') }}
    where is_paid and valid_to is null

),

paying_now as (

    select
        currency,
        sum(mrr) as mrr,
        sum(mrr_cost) as mrr_cost,
        count(distinct account_id) as accounts,
    from open_periods
    group by currency

),

revenue as (

    select
        *,
        lag(mrr_end) over currency_order as previous_mrr_end,
        lag(paying_accounts_end) over currency_order as previous_paying_accounts,
        lag(month) over currency_order as previous_month,
        lead(month) over currency_order is null as is_last,
    from {{ ref('mart_mrr_monthly') }}
    window currency_order as (partition by currency order by month)

),

-- Grain: currency.
by_day as (

    select
        currency,
        sum(mrr_delta) as mrr,
        sum(paying_delta) as accounts,
    from {{ ref('mart_mrr_daily') }}
    group by currency

),

revenue_now as (

    select
        coalesce(paying_now.currency, revenue.currency) as currency,
        revenue.mrr_end = coalesce(paying_now.mrr, 0)
        and coalesce(by_day.mrr, 0) = coalesce(paying_now.mrr, 0)
        and revenue.mrr_cost_end = coalesce(paying_now.mrr_cost, 0)
        and revenue.paying_accounts_end = coalesce(paying_now.accounts, 0)
        and revenue.month = date_trunc('month', {{ as_of_date() }}) as is_balanced,
    from paying_now
    full outer join revenue
        on paying_now.currency = revenue.currency
    left join by_day
        on coalesce(paying_now.currency, revenue.currency) = by_day.currency
    where revenue.is_last is distinct from false

),

funnel as (

    select
        sum(registered) as registered,
        count(
            case
                when
                    workspace > registered
                    or paid > workspace
                    or renewed > paid
                    {%- for window_days in [14, 30, 90] %}
                        or matured_{{ window_days }} > registered
                        or paid_{{ window_days }} > matured_{{ window_days }}
                        or paid_{{ window_days }} > paid
                    {%- endfor %}
                    then 1
            end
        ) as impossible,
    from {{ ref('mart_funnel_daily') }}

),

episodes as (

    select
        count(*) as opened,
        count(case when status = 'open' then 1 end) as open_now,
        sum(case when status = 'open' then amount end) as open_amount,
    from {{ ref('int_overdue_episodes') }}

),

ageing as (

    select
        sum(episodes) as episodes,
        -- Unknown where that of one row is too large to be told.
        case when count(amount) = count(*) then sum(amount) end as amount,
    from {{ ref('mart_overdue_ageing') }}

),

overdue as (

    select
        sum(opened) as opened,
        count(
            case
                when matured_30d > opened or recovered_30d + lost_30d > matured_30d
                    then 1
            end
        ) as impossible,
    from {{ ref('mart_overdue_monthly') }}

),

retention as (

    select
        count(case when period_number = 0 then 1 end) * 25 as dense_rows,
        count(*) as found_rows,
        sum(case when period_number = 0 then cohort_size end) as accounts,
        count(
            case
                when
                    matured > cohort_size
                    or retained > matured
                    or (retained is null) <> (matured = 0)
                    or (mrr_retained is null) <> (matured = 0)
                    or (
                        period_number = 0
                        and (
                            cohort_size <> retained
                            or matured <> retained
                            or mrr_start <> mrr_retained
                        )
                    )
                    then 1
            end
        ) as impossible,
    from {{ ref('mart_retention_monthly') }}

),

ever_paid as (

    select
        count(first_paid_at) as accounts,
        count(case when is_paying then 1 end) as paying,
    from {{ ref('int_accounts') }}

),

plan_changes as (

    select count(*) as changes from {{ ref('fct_plan_changes') }}

),

renewals as (

    select
        sum(missing) as missing,
        count(
            case
                when expected <> renewed + ended + overdue + missing + pending then 1
            end
        ) as impossible,
    from {{ ref('mart_renewals_monthly') }}

),

registrations as (

    select count(*) as accounts from {{ ref('fct_registration_funnel') }}

),

missing_renewals as (

    select count(*) as found from {{ ref('fct_missing_renewals') }}

),

sums as (

    select
        'registrations in mart_funnel_daily' as sum_name,
        registrations.accounts as expected,
        funnel.registered as found,
    from registrations
    cross join funnel
    union all
    select
        'impossible rows of mart_funnel_daily' as sum_name,
        0 as expected,
        impossible as found,
    from funnel
    union all
    select
        'open episodes in mart_overdue_ageing' as sum_name,
        episodes.open_now as expected,
        ageing.episodes as found,
    from episodes
    cross join ageing
    union all
    select
        'open amount in mart_overdue_ageing' as sum_name,
        episodes.open_amount as expected,
        ageing.amount as found,
    from episodes
    cross join ageing
    where ageing.amount is not null
    union all
    select
        'episodes in mart_overdue_monthly' as sum_name,
        episodes.opened as expected,
        overdue.opened as found,
    from episodes
    cross join overdue
    union all
    select
        'impossible rows of mart_overdue_monthly' as sum_name,
        0 as expected,
        impossible as found,
    from overdue
    union all
    select
        'months out of balance in mart_mrr_monthly' as sum_name,
        0 as expected,
        count(*) as found,
    from revenue
    where
        mrr_end
        <> mrr_start + new + expansion + contraction + churn + reactivation
        or mrr_start <> coalesce(previous_mrr_end, 0)
        or paying_accounts_start <> coalesce(previous_paying_accounts, 0)
        or month <> previous_month + interval 1 month
        or retained_mrr > least(mrr_start, expanded_mrr)
        or churned_accounts > paying_accounts_start
        or mrr_end < 0
        or retained_mrr < 0
    union all
    select
        'currencies that do not end at what runs now, by month or day' as sum_name,
        0 as expected,
        count(*) as found,
    from revenue_now
    where not coalesce(is_balanced, false)
    union all
    select
        'paying accounts in mart_mrr_daily' as sum_name,
        ever_paid.paying as expected,
        sum(by_day.accounts) as found,
    from ever_paid
    left join by_day on true
    group by ever_paid.paying
    union all
    select
        'changes in mart_plan_changes_daily' as sum_name,
        plan_changes.changes as expected,
        sum(by_kind.changes) as found,
    from plan_changes
    left join {{ ref('mart_plan_changes_daily') }} as by_kind on true
    group by plan_changes.changes
    union all
    select
        'accounts in mart_retention_monthly' as sum_name,
        ever_paid.accounts as expected,
        retention.accounts as found,
    from ever_paid
    cross join retention
    union all
    select
        'rows of mart_retention_monthly' as sum_name,
        dense_rows as expected,
        found_rows as found,
    from retention
    union all
    select
        'impossible rows of mart_retention_monthly' as sum_name,
        0 as expected,
        impossible as found,
    from retention
    union all
    select
        'impossible rows of mart_renewals_monthly' as sum_name,
        0 as expected,
        impossible as found,
    from renewals
    union all
    select
        'missing renewals in mart_renewals_monthly' as sum_name,
        missing_renewals.found as expected,
        renewals.missing as found,
    from missing_renewals
    cross join renewals

)

select
    sum_name,
    expected,
    found,
from sums
where coalesce(expected, 0) <> coalesce(found, 0)
