{{ config(materialized='view') }}
-- One row per account seen in any of the six event types, as of now.
with

accounts as (

    select * from {{ ref('int_accounts') }}

)

select
    account_id,
    registered_at,
    source,
    first_paid_at,
    current_plan_id,
    auto_renew,
    period_end,
    is_paying,
    mrr,
    currency,
    workspaces_live,
    workspaces_total,
    open_overdue,
    case
        when is_paying and open_overdue > 0 then 'past_due'
        when is_paying then 'paying'
        when first_paid_at is not null then 'churned'
        when
            {{ microseconds(as_of()) }} - registered_us
            < {{ var('trial_days') }} * {{ days_us(1) }}
            then 'trialing'
        when workspaces_total > 0 then 'activated'
        else 'registered'
    end as lifecycle,
    last_event_at,
from accounts
