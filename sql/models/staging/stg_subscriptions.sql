-- One row per account and workspace that its plan, renewal and overdue events name (''
-- = they name none), with the subscription that such events belong to.
-- subscription_number stands for (account_id, subscription_id): the row of its first
-- event at hand. is_own: the one row of a subscription to read its names from.
with

named as (

    select
        account_id,
        coalesce(workspace_id, '') as named_workspace_id,
        min(event_row) as first_event_row,
    from {{ touched_events() }}
    where event_type in ('plan_changed', 'plan_renewed', 'overdue_payment')
    group by account_id, coalesce(workspace_id, '')

),

-- Grain: account that names one workspace and no other.
only_workspaces as (

    select
        account_id,
        min(named_workspace_id) as workspace_id,
    from named
    where named_workspace_id <> ''
    group by account_id
    having count(*) = 1

),

resolved as (

    select
        named.account_id,
        named.named_workspace_id,
        named.first_event_row,
        case
            when named.named_workspace_id <> '' then named.named_workspace_id
            else coalesce(only_workspaces.workspace_id, named.account_id)
        end as subscription_id,
        case
            when named.named_workspace_id <> '' then 'workspace'
            when only_workspaces.account_id is not null then 'inferred'
            else 'account'
        end as attribution,
    from named
    left join only_workspaces on named.account_id = only_workspaces.account_id

),

numbered as (

    select
        *,
        min(first_event_row) over (
            partition by account_id, subscription_id
        ) as subscription_number,
    from resolved

)

select
    account_id,
    named_workspace_id,
    subscription_number,
    subscription_id,
    attribution,
    first_event_row = subscription_number as is_own,
from numbered
