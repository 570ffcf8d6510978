{{ config(materialized='view') }}
-- One row per overdue episode, with its age on the day of as_of.
with

episodes as (

    select
        *,
        case
            when status = 'open'
                then {{ as_of_date() }} - coalesce(due_date, opened_date)
        end as days_overdue,
    from {{ ref('int_overdue_episodes') }}

)

select
    episode_id,
    account_id,
    subscription_id,
    workspace_id,
    payment_id,
    cause,
    opened_at,
    last_notice_at,
    notices,
    amount,
    currency,
    due_date,
    status,
    closed_at,
    days_to_close,
    days_overdue,
    case
        when days_overdue is null then null
        when days_overdue < 0 then 'not_due'
        when days_overdue <= 7 then '0-7'
        when days_overdue <= 30 then '8-30'
        when days_overdue <= 60 then '31-60'
        when days_overdue <= 90 then '61-90'
        else '90+'
    end as ageing_bucket,
    notices_before_close,
from episodes
