-- One row per subscription and renewal day: the first event that reports it.
with

numbered as (

    select *
    from {{ account_ref('stg_account_events') }}
    where event_type = 'plan_renewed'

),

events as (

    select *
    from {{ touched_events() }}
    where event_type = 'plan_renewed'

),

renewals as (

    select
        numbered.*,
        events.event_time_source,
        events.plan_id,
        events.auto_renew,
        events.end_date,
        events.renewal_date,
        coalesce(
            events.renewal_date, {{ utc_date('numbered.occurred_us') }}
        ) as renewed_date,
    from numbered
    inner join events on numbered.event_id = events.event_id

)

select
    account_id,
    subscription_id,
    attribution,
    renewed_date,
    event_number,
    event_id,
    event_type,
    occurred_at,
    occurred_us,
    event_time_source,
    workspace_id,
    plan_id,
    auto_renew,
    end_date,
    renewal_date,
from renewals
qualify
    row_number() over (
        partition by account_id, subscription_id, renewed_date order by event_number
    ) = 1
