-- One row per event: repeats are told apart from changes by the state logic.
with

events as (

    select *
    from {{ account_ref('stg_account_events') }}
    where event_type = 'plan_changed'

)

select
    account_id,
    subscription_id,
    attribution,
    event_number,
    event_id,
    event_type,
    occurred_at,
    occurred_us,
    event_time_source,
    workspace_id,
    plan_id,
    auto_renew,
    start_date,
    end_date,
from events
