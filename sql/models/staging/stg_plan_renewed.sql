-- One row per subscription and renewal day: the first event that reports it.
with

renewals as (

    select
        *,
        coalesce(renewal_date, {{ utc_date('occurred_us') }}) as renewed_date,
    from ({{ subscription_events('plan_renewed') }}) as events

)

select
    account_id,
    subscription_number,
    subscription_id,
    attribution,
    renewed_date,
    event_number,
    event_row,
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
    event_number = min(event_number) over (
        partition by subscription_number, renewed_date
    )
