-- One row per event of the six types: the event's place in its account's history, which
-- every later model orders by, and its subscription. Narrow, since it is sorted; what
-- else the event says is in the model of its type.
with

events as (

    select
        account_id,
        event_id,
        event_type,
        occurred_at,
        workspace_id,
        row_number() over (
            partition by account_id order by occurred_at, received_at, node, seq
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

),

-- Grain: account. What the account's plan, renewal and overdue events call a workspace.
account_workspaces as (

    select
        account_id,
        min(workspace_id) as first_workspace_id,
        max(workspace_id) as last_workspace_id,
    from {{ touched_events() }}
    where
        event_type in ('plan_changed', 'plan_renewed', 'overdue_payment')
        and workspace_id is not null
    group by account_id

),

only_workspaces as (

    select
        account_id,
        first_workspace_id as only_workspace_id,
    from account_workspaces
    where first_workspace_id = last_workspace_id

)

select
    events.account_id,
    events.event_number,
    events.event_id,
    events.event_type,
    events.occurred_at,
    {{ microseconds('events.occurred_at') }} as occurred_us,
    events.workspace_id,
    case
        when
            events.event_type in ('plan_changed', 'plan_renewed', 'overdue_payment')
            then coalesce(
                events.workspace_id,
                only_workspaces.only_workspace_id,
                events.account_id
            )
    end as subscription_id,
    case
        when
            events.event_type not in (
                'plan_changed', 'plan_renewed', 'overdue_payment'
            )
            then null
        when events.workspace_id is not null then 'workspace'
        when only_workspaces.only_workspace_id is not null then 'inferred'
        else 'account'
    end as attribution,
from events
left join only_workspaces on events.account_id = only_workspaces.account_id
