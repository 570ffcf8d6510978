-- Question: How much of today's revenue may be lost soon, and for what reason?
-- One row per: currency and the first reason that fits.
-- How to read: 1 an overdue episode is open; 2 auto-renew is off; 3 the last paid time
-- is over and its renewal missing; 4 nothing speaks against it. The shares of
-- a currency add up to 1. An account counts with the currency of its largest plan.
with

silent as (

    select
        account_id,
        max(end_date) as end_date,
    from fct_missing_renewals
    group by account_id

),

paying as (

    select
        accounts.currency,
        accounts.mrr,
        case
            when accounts.open_overdue > 0 then '1 overdue'
            when not accounts.auto_renew then '2 auto-renew off'
            when silent.end_date >= accounts.period_end then '3 renewal missing'
            else '4 none'
        end as risk,
    from dim_accounts as accounts
    left join silent on accounts.account_id = silent.account_id
    where accounts.is_paying

)

select
    currency,
    risk,
    count(*) as accounts,
    sum(mrr) as mrr,
    sum(mrr) / nullif(sum(sum(mrr)) over (partition by currency), 0) as mrr_share,
from paying
group by currency, risk
order by currency, risk
