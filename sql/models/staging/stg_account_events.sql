-- One row per event of the six types. Adds the two things every later model orders and
-- groups by: the event's place in its account's history and its subscription.
with

events as (

    select *
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
    from events
    where event_type in ('plan_changed', 'plan_renewed', 'overdue_payment')
    group by account_id

),

numbered as (

    select
        events.*,
        case
            when first_workspace_id = last_workspace_id then first_workspace_id
        end as only_workspace_id,
        row_number() over (
            partition by events.account_id
            order by occurred_at, received_at, node, seq, event_id
        ) as event_number,
    from events
    left join account_workspaces
        on events.account_id = account_workspaces.account_id

)

select
    account_id,
    event_number,
    event_id,
    event_type,
    occurred_at,
    {{ microseconds('occurred_at') }} as occurred_us,
    cast(occurred_at as date) as occurred_date,
    event_time_source,
    case
        when event_type in ('plan_changed', 'plan_renewed', 'overdue_payment')
            then coalesce(workspace_id, only_workspace_id, account_id)
    end as subscription_id,
    case
        when event_type not in ('plan_changed', 'plan_renewed', 'overdue_payment')
            then null
        when workspace_id is not null then 'workspace'
        when only_workspace_id is not null then 'inferred'
        else 'account'
    end as attribution,
    workspace_id,
    source,
    plan_id,
    payment_id,
    currency,
    auto_renew,
    amount,
    start_date,
    end_date,
    renewal_date,
    due_date,
from numbered
