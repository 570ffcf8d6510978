-- One row per workspace: the first event that says it was deleted.
with

events as (

    select *
    from {{ account_ref('stg_account_events') }}
    where event_type = 'workspace_deleted'

)

select
    account_id,
    workspace_id,
    event_number,
    event_id,
    occurred_at,
    occurred_us,
from events
qualify
    row_number() over (
        partition by account_id, workspace_id order by event_number
    ) = 1
