-- One row per subscription and renewal day: the first event that reports it.
with

renewals as (

    select
        *,
        coalesce(renewal_date, {{ utc_date('occurred_us') }}) as renewed_date,
    from (
        {{ subscription_events(
            'plan_renewed',
            [
                'occurred_at', 'event_time_source', 'plan_id', 'auto_renew', 'end_date',
                'renewal_date',
            ],
        ) }}
    ) as events

),

-- Grain: renewal day that several events report. They are few: all others need no look
-- at what is beside them.
repeats as (

    select
        subscription_number,
        renewed_date,
        min(event_number) as first_event_number,
    from renewals
    group by subscription_number, renewed_date
    having count(*) > 1

)

select
    renewals.account_id,
    renewals.subscription_number,
    renewals.attribution,
    renewals.renewed_date,
    renewals.event_number,
    renewals.event_row,
    'plan_renewed' as event_type,
    renewals.occurred_at,
    renewals.occurred_us,
    renewals.event_time_source,
    renewals.workspace_id,
    renewals.plan_id,
    renewals.auto_renew,
    renewals.end_date,
    renewals.renewal_date,
from renewals
left join repeats
    on
        renewals.subscription_number = repeats.subscription_number
        and renewals.renewed_date = repeats.renewed_date
where coalesce(renewals.event_number = repeats.first_event_number, true)
