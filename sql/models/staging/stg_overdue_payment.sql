-- One row per account, payment (without one: subscription) and day: one notice. The
-- three notices of three days stay three; what one day repeats is one.
with

notices as (

    select
        *,
        {{ utc_date('occurred_us') }} as occurred_date,
        coalesce(payment_id, subscription_id) as notice_key,
    from (
        {{ subscription_events(
            'overdue_payment',
            [
                'event_id', 'occurred_at', 'payment_id', 'amount', 'currency',
                'auto_renew', 'due_date',
            ],
        ) }}
    ) as events

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
