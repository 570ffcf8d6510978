{{ config(database='delta', schema='main') }}
-- One row per deletion of a workspace and subscription that it ends: the workspace's
-- own, and the account-level one with the account's last live workspace.
with

deletions as (

    select *
    from {{ account_ref('int_workspaces') }}
    where deletion_event_number is not null

),

-- Grain: subscription.
subscriptions as (

    select *
    from {{ account_ref('stg_subscriptions') }}
    where is_own

)

select
    deletions.account_id,
    subscriptions.subscription_number,
    subscriptions.subscription_id,
    subscriptions.attribution = 'account' as is_account_level,
    deletions.deletion_event_number as event_number,
    deletions.deletion_event_row as event_row,
    deletions.deleted_us as occurred_us,
from deletions
inner join subscriptions on deletions.account_id = subscriptions.account_id
where
    case
        when subscriptions.attribution = 'account' then deletions.is_last_deletion
        else deletions.workspace_id = subscriptions.subscription_id
    end
