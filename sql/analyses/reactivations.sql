-- Question: Who comes back after leaving, and after how long?
-- One row per: month of return and currency.
-- How to read: accounts that pay again in a currency they had stopped paying in; half
-- of them had been away for at most median_days_away.
with

turns as (

    select
        account_id,
        currency,
        changed_at,
        mrr_movement,
        account_mrr_after,
        lag(changed_at) over (
            partition by account_id, currency order by changed_at
        ) as left_at,
    from fct_plan_changes
    where mrr_movement in ('churn', 'reactivation')

)

select
    cast(date_trunc('month', changed_at) as date) as month,
    currency,
    count(distinct account_id) as accounts,
    sum(account_mrr_after) as mrr,
    median(epoch(changed_at) - epoch(left_at)) / 86400 as median_days_away,
from turns
where mrr_movement = 'reactivation'
group by all
order by month desc, currency asc
