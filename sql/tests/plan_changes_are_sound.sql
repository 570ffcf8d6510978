-- One row per change, each of a known kind, its amounts adding up, its account known.
with

plan_changes as (

    select * from {{ rows_in_scope('fct_plan_changes') }}

),

repeated as (

    select change_id
    from plan_changes
    group by change_id
    having count(*) > 1

),

accounts as (

    select account_id from {{ rows_in_scope('int_accounts') }}

)

select
    plan_changes.change_id,
    plan_changes.account_id,
    plan_changes.change_type,
    plan_changes.mrr_movement,
    plan_changes.cause,
from plan_changes
left join accounts on plan_changes.account_id = accounts.account_id
left join repeated on plan_changes.change_id = repeated.change_id
where
    repeated.change_id is not null
    or accounts.account_id is null
    or plan_changes.change_id is null
    or plan_changes.subscription_id is null
    or plan_changes.changed_at is null
    or coalesce(plan_changes.from_plan_id, '') = coalesce(plan_changes.to_plan_id, '')
    or plan_changes.attribution not in ('workspace', 'inferred', 'account')
    or plan_changes.change_type not in (
        'new',
        'reactivation',
        'upgrade',
        'downgrade',
        'switch',
        'cancel',
        'trial_over',
        'closed',
        'start_free'
    )
    or plan_changes.mrr_movement not in (
        'new', 'reactivation', 'expansion', 'contraction', 'churn', 'none'
    )
    or (plan_changes.change_type = 'cancel') <> (plan_changes.cause is not null)
    or plan_changes.cause not in (
        'workspace_deleted',
        'wallet_short',
        'non_renewal',
        'overdue',
        'expiry',
        'early'
    )
    or plan_changes.mrr_delta <> plan_changes.mrr_after - plan_changes.mrr_before
    or plan_changes.mrr_delta
    <> plan_changes.account_mrr_after - plan_changes.account_mrr_before
    or (
        plan_changes.currency is null
        and (plan_changes.mrr_delta <> 0 or plan_changes.mrr_movement <> 'none')
    )
