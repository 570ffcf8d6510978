-- One row per account: its first registration.
select
    account_id,
    event_number,
    occurred_at,
    occurred_us,
    {{ utc_date('occurred_us') }} as occurred_date,
    source,
from ({{ events_of_type('user_registered', ['occurred_at', 'source']) }}) as events
qualify
    row_number() over (
        partition by account_id order by event_number
    ) = 1
