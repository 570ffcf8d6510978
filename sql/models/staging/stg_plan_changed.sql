-- One row per event: repeats are told apart from changes by the state logic.
with

numbered as (

    select *
    from {{ account_ref('stg_account_events') }}
    where event_type = 'plan_changed'

),

events as (

    select *
    from {{ touched_events() }}
    where event_type = 'plan_changed'

)

select
    numbered.account_id,
    numbered.subscription_id,
    numbered.attribution,
    numbered.event_number,
    numbered.event_id,
    numbered.event_type,
    numbered.occurred_at,
    numbered.occurred_us,
    events.event_time_source,
    numbered.workspace_id,
    events.plan_id,
    events.auto_renew,
    events.start_date,
    events.end_date,
from numbered
inner join events on numbered.event_id = events.event_id
