-- Question: How much of today's revenue may be lost soon, and for what reason?
-- One row per: currency and the first reason that fits.
-- How to read: each paid subscription is judged by itself. 1 an overdue episode of it
-- is open, or one of its account where either names no workspace; 2 its auto-renew is
-- off; 3 its last paid time is over and its renewal missing; 4 nothing speaks against
-- it. The shares of a currency add up to 1. An account with several subscriptions is
-- counted under each reason and currency that one of them has.
with

subscriptions as (

    select *
    from int_plan_periods
    where is_paid and valid_to is null

),

-- Grain: subscription.
owing as (

    select distinct
        subscriptions.account_id,
        subscriptions.subscription_id,
    from subscriptions
    inner join fct_overdue_episodes as episodes
        on
            subscriptions.account_id = episodes.account_id
            and (
                episodes.workspace_id is null
                or subscriptions.attribution = 'account'
                or subscriptions.subscription_id = episodes.workspace_id
            )
    where episodes.status = 'open'

),

silent as (

    select
        account_id,
        subscription_id,
        max(end_date) as end_date,
    from fct_missing_renewals
    group by account_id, subscription_id

),

judged as (

    select
        subscriptions.account_id,
        subscriptions.currency,
        subscriptions.mrr,
        case
            when owing.subscription_id is not null then '1 overdue'
            when not subscriptions.auto_renew then '2 auto-renew off'
            when silent.end_date >= subscriptions.period_end then '3 renewal missing'
            else '4 none'
        end as risk,
    from subscriptions
    left join owing
        on
            subscriptions.account_id = owing.account_id
            and subscriptions.subscription_id = owing.subscription_id
    left join silent
        on
            subscriptions.account_id = silent.account_id
            and subscriptions.subscription_id = silent.subscription_id

)

select
    currency,
    risk,
    count(distinct account_id) as accounts,
    sum(mrr) as mrr,
    sum(mrr) / nullif(sum(sum(mrr)) over (partition by currency), 0) as mrr_share,
from judged
group by currency, risk
order by currency, risk
