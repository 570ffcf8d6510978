-- One row per subscription and renewal day: the first event that reports it.
with

events as (

    select
        *,
        coalesce(renewal_date, occurred_date) as renewed_date,
    from {{ account_ref('stg_account_events') }}
    where event_type = 'plan_renewed'

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
from events
qualify row_number() over (
    partition by account_id, subscription_id, renewed_date order by event_number
) = 1
