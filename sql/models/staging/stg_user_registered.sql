-- One row per account: its first registration.
with

events as (

    select *
    from {{ account_ref('stg_account_events') }}
    where event_type = 'user_registered'

)

select
    account_id,
    event_number,
    event_id,
    occurred_at,
    occurred_us,
    occurred_date,
    source,
from events
qualify row_number() over (partition by account_id order by event_number) = 1
