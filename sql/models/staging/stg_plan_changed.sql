-- One row per event: repeats are told apart from changes by the state logic.
select
    account_id,
    subscription_number,
    attribution,
    event_number,
    event_row,
    'plan_changed' as event_type,
    occurred_us,
    event_time_source,
    workspace_id,
    plan_id,
    auto_renew,
    start_date,
    end_date,
from (
    {{ subscription_events(
        'plan_changed',
        ['event_time_source', 'plan_id', 'auto_renew', 'start_date', 'end_date'],
    ) }}
) as events
