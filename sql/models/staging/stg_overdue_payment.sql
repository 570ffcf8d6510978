-- One row per account, payment (without one: subscription) and day: one notice. The
-- three notices of three days stay three; what one day repeats is one.
with

numbered as (

    select *
    from {{ account_ref('stg_account_events') }}
    where event_type = 'overdue_payment'

),

events as (

    select *
    from {{ touched_events() }}
    where event_type = 'overdue_payment'

),

notices as (

    select
        numbered.*,
        {{ utc_date('numbered.occurred_us') }} as occurred_date,
        coalesce(events.payment_id, numbered.subscription_id) as notice_key,
        events.payment_id,
        events.amount,
        events.currency,
        events.auto_renew,
        events.due_date,
    from numbered
    inner join events on numbered.event_id = events.event_id

)

select
    account_id,
    subscription_id,
    attribution,
    notice_key,
    occurred_date,
    event_number,
    event_id,
    occurred_at,
    occurred_us,
    workspace_id,
    payment_id,
    amount,
    currency,
    auto_renew,
    due_date,
from notices
qualify
    row_number() over (
        partition by account_id, notice_key, occurred_date order by event_number
    ) = 1
