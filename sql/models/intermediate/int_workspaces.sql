{{ config(database='delta', schema='main') }}
-- One row per workspace of an account. A workspace is known from its first event of any
-- type and lives until its deletion; creating another plan does not revive it.
with

deletions as (

    select * from {{ account_ref('stg_workspace_deleted') }}

),

workspaces as (

    select distinct
        account_id,
        workspace_id,
    from {{ touched_events() }}
    where workspace_id is not null

),

-- Who never lost a workspace need not have them counted from event to event.
deleting_accounts as (

    select distinct account_id from deletions

),

-- Grain: workspace of such an account.
first_events as (

    select
        events.account_id,
        events.workspace_id,
        min(numbered.event_number) as event_number,
    from {{ touched_events() }} as events
    inner join deleting_accounts on events.account_id = deleting_accounts.account_id
    inner join {{ account_ref('stg_account_events') }} as numbered
        on events.event_row = numbered.event_row
    where events.workspace_id is not null
    group by events.account_id, events.workspace_id

),

-- Grain: workspace and turn, its first event and its deletion.
turns as (

    select
        account_id,
        event_number,
        1 as live_change,
    from first_events
    union all
    select
        account_id,
        event_number,
        -1 as live_change,
    from deletions

),

-- The default frame takes in all turns of one event: a workspace first heard of by its
-- deletion has come and gone.
live_counts as (

    select
        account_id,
        event_number,
        live_change,
        sum(live_change) over (
            partition by account_id order by event_number
        ) as live_after,
    from turns

)

select
    workspaces.account_id,
    workspaces.workspace_id,
    deletions.event_number as deletion_event_number,
    deletions.event_row as deletion_event_row,
    deletions.occurred_us as deleted_us,
    coalesce(live_counts.live_after = 0, false) as is_last_deletion,
from workspaces
left join deletions
    on
        workspaces.account_id = deletions.account_id
        and workspaces.workspace_id = deletions.workspace_id
left join live_counts
    on
        deletions.account_id = live_counts.account_id
        and deletions.event_number = live_counts.event_number
        and live_counts.live_change = -1
