-- One row per event of the six types: its place in its account's history, which every
-- later model orders by. As narrow as can be, since it is sorted; what the event says
-- is in the model of its type, joined by event_row.
select
    account_id,
    event_row,
    event_type,
    {{ microseconds('occurred_at') }} as occurred_us,
    row_number() over (
        partition by account_id
        order by {{ microseconds('occurred_at') }}, received_at, node, seq
    ) as event_number,
from {{ touched_events() }}
where event_type in (
    'user_registered',
    'workspace_created',
    'workspace_deleted',
    'plan_changed',
    'plan_renewed',
    'overdue_payment'
)
