{{ config(database='delta', schema='main') }}
-- One row per workspace of an account. A workspace is known from its first event of any
-- type and lives until its deletion; creating another plan does not revive it.
with

events as (

    select *
    from {{ account_ref('stg_account_events') }}
    where workspace_id is not null

),

deletions as (

    select * from {{ account_ref('stg_workspace_deleted') }}

),

first_seen as (

    select
        account_id,
        workspace_id,
        min(event_number) as first_event_number,
        min(occurred_at) as first_seen_at,
    from events
    group by account_id, workspace_id

),

workspaces as (

    select
        first_seen.account_id,
        first_seen.workspace_id,
        first_seen.first_event_number,
        first_seen.first_seen_at,
        deletions.event_number as deletion_event_number,
        deletions.event_id as deletion_event_id,
        deletions.occurred_at as deleted_at,
        deletions.occurred_us as deleted_us,
    from first_seen
    left join deletions
        on
            first_seen.account_id = deletions.account_id
            and first_seen.workspace_id = deletions.workspace_id

),

-- Grain: workspace and turn, its first event and its deletion.
turns as (

    select
        account_id,
        first_event_number as event_number,
        1 as live_change,
    from workspaces
    union all
    select
        account_id,
        deletion_event_number as event_number,
        -1 as live_change,
    from workspaces
    where deletion_event_number is not null

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
    workspaces.first_event_number,
    workspaces.first_seen_at,
    workspaces.deletion_event_number,
    workspaces.deletion_event_id,
    workspaces.deleted_at,
    workspaces.deleted_us,
    coalesce(live_counts.live_after = 0, false) as is_last_deletion,
from workspaces
left join live_counts
    on
        workspaces.account_id = live_counts.account_id
        and workspaces.deletion_event_number = live_counts.event_number
        and live_counts.live_change = -1
