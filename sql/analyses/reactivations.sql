-- Question: Who comes back after leaving, and after how long?
-- One row per: month of return and currency.
-- How to read: accounts that pay again in a currency they had stopped paying in, be it
-- that they left or that they paid in another one; half of them had been away from it
-- for at most median_days_away.
with

returns as (

    select
        change_id,
        account_id,
        currency,
        changed_at,
        account_mrr_after,
    from fct_plan_changes
    where mrr_movement = 'reactivation'

),

-- A paid plan that lasted no time has no period, but its end is a churn all the same.
ends as (

    select
        account_id,
        currency,
        valid_to as ended_at,
    from int_plan_periods
    where is_paid
    union all
    select
        account_id,
        currency,
        changed_at as ended_at,
    from fct_plan_changes
    where mrr_movement = 'churn'

),

-- Grain: return.
absences as (

    select
        returns.account_id,
        returns.currency,
        returns.changed_at,
        returns.account_mrr_after,
        max(ends.ended_at) as left_at,
    from returns
    left join ends
        on
            returns.account_id = ends.account_id
            and returns.currency = ends.currency
            and returns.changed_at >= ends.ended_at
    group by
        returns.change_id,
        returns.account_id,
        returns.currency,
        returns.changed_at,
        returns.account_mrr_after

)

select
    cast(date_trunc('month', changed_at) as date) as month,
    currency,
    count(distinct account_id) as accounts,
    sum(account_mrr_after) as mrr,
    median(epoch(changed_at) - epoch(left_at)) / 86400 as median_days_away,
from absences
group by all
order by month desc, currency asc
