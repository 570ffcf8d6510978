-- One row per account, payment (without one: subscription) and day: one notice. The three
-- notices of three days stay three; what one day repeats is one.
with

events as (

    select
        *,
        coalesce(payment_id, subscription_id) as notice_key,
    from {{ account_ref('stg_account_events') }}
    where event_type = 'overdue_payment'

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
from events
qualify row_number() over (
    partition by account_id, notice_key, occurred_date order by event_number
) = 1
