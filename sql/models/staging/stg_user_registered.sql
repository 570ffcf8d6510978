-- One row per account: its first registration.
with

numbered as (

    select *
    from {{ account_ref('stg_account_events') }}
    where event_type = 'user_registered'

),

events as (

    select *
    from {{ touched_events() }}
    where event_type = 'user_registered'

)

select
    numbered.account_id,
    numbered.event_number,
    numbered.event_id,
    numbered.occurred_at,
    numbered.occurred_us,
    {{ utc_date('numbered.occurred_us') }} as occurred_date,
    events.source,
from numbered
inner join events on numbered.event_id = events.event_id
qualify
    row_number() over (
        partition by numbered.account_id order by numbered.event_number
    ) = 1
