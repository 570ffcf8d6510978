{{ config(database='delta', schema='main') }}
-- One row per event that states, proves or ends the plan of a subscription, with the plan
-- it leads to (NULL = none) and the one before it, restore gaps not yet healed.
-- Left out: renewals of a plan nobody knows, and account-level renewals that would open a
-- paid state while a workspace of the account is paid.
with

plan_changed as (

    select * from {{ account_ref('stg_plan_changed') }}

),

plan_renewed as (

    select * from {{ account_ref('stg_plan_renewed') }}

),

workspaces as (

    select *
    from {{ account_ref('int_workspaces') }}
    where deletion_event_number is not null

),

prices as (

    select * from {{ ref('int_plan_prices') }}

),

stated as (

    select
        account_id,
        subscription_id,
        attribution,
        event_number,
        event_id,
        event_type,
        occurred_at,
        occurred_us,
        event_time_source,
        workspace_id,
        plan_id,
        auto_renew,
        start_date,
        end_date,
        cast(null as date) as renewal_date,
    from plan_changed
    union all
    select
        account_id,
        subscription_id,
        attribution,
        event_number,
        event_id,
        event_type,
        occurred_at,
        occurred_us,
        event_time_source,
        workspace_id,
        plan_id,
        auto_renew,
        cast(null as date) as start_date,
        end_date,
        renewal_date,
    from plan_renewed

),

-- Grain: subscription.
subscriptions as (

    select distinct
        account_id,
        subscription_id,
        attribution = 'account' as is_account_level,
    from stated

),

-- Grain: deletion and subscription that it ends: the workspace's own, and the account-level
-- one with the account's last live workspace.
closures as (

    select
        workspaces.account_id,
        subscriptions.subscription_id,
        case
            when subscriptions.is_account_level then 'account' else 'workspace'
        end as attribution,
        workspaces.deletion_event_number as event_number,
        workspaces.deletion_event_id as event_id,
        workspaces.deleted_at as occurred_at,
        workspaces.deleted_us as occurred_us,
        workspaces.workspace_id,
    from workspaces
    inner join subscriptions
        on
            workspaces.account_id = subscriptions.account_id
            and (
                (
                    workspaces.workspace_id = subscriptions.subscription_id
                    and not subscriptions.is_account_level
                )
                or (
                    workspaces.is_last_deletion
                    and subscriptions.is_account_level
                )
            )

),

candidates as (

    select
        stated.account_id,
        stated.subscription_id,
        stated.attribution,
        stated.event_number,
        stated.event_id,
        stated.event_type,
        stated.occurred_at,
        stated.occurred_us,
        stated.event_time_source,
        stated.workspace_id,
        stated.plan_id,
        stated.auto_renew,
        stated.start_date,
        stated.end_date,
        stated.renewal_date,
        {{ is_paid_plan('stated.plan_id', 'prices.mrr') }} as is_paid,
    from stated
    left join prices
        on
            stated.plan_id = prices.plan_id
            and stated.occurred_us >= prices.priced_from_us
            and stated.occurred_us < prices.priced_to_us
    union all
    select
        account_id,
        subscription_id,
        attribution,
        event_number,
        event_id,
        'workspace_deleted' as event_type,
        occurred_at,
        occurred_us,
        cast(null as varchar) as event_time_source,
        workspace_id,
        cast(null as varchar) as plan_id,
        cast(null as boolean) as auto_renew,
        cast(null as date) as start_date,
        cast(null as date) as end_date,
        cast(null as date) as renewal_date,
        false as is_paid,
    from closures

),

-- Only accounts with account-level renewals beside workspaces of their own plan can have
-- the first kept from opening anything: few, so this is cheap.
mixed_accounts as (

    select distinct plan_renewed.account_id
    from plan_renewed
    inner join subscriptions
        on plan_renewed.account_id = subscriptions.account_id
    where
        plan_renewed.attribution = 'account'
        and not subscriptions.is_account_level

),

workspace_plans as (

    select
        candidates.account_id,
        candidates.subscription_id,
        candidates.event_number,
        candidates.occurred_us,
        case
            when
                candidates.event_type = 'plan_renewed'
                and candidates.plan_id is null
                then last_value(
                    case when candidates.is_paid then candidates.plan_id end
                    ignore nulls
                ) over earlier
            else candidates.plan_id
        end as plan_id,
        case
            when
                candidates.event_type = 'plan_renewed'
                and candidates.plan_id is null
                then coalesce(max(candidates.is_paid) over earlier, false)
            else candidates.is_paid
        end as is_paid,
        candidates.event_type = 'plan_renewed'
        and candidates.plan_id is null as is_plan_unstated,
    from candidates
    inner join mixed_accounts
        on candidates.account_id = mixed_accounts.account_id
    where candidates.attribution <> 'account'
    window earlier as (
        partition by candidates.account_id, candidates.subscription_id
        order by candidates.event_number
        rows between unbounded preceding and 1 preceding
    )

),

workspace_turns as (

    select
        *,
        lag(plan_id) over subscription_order as plan_id_before,
        coalesce(lag(is_paid) over subscription_order, false) as is_paid_before,
    from workspace_plans
    where plan_id is not null or not is_plan_unstated
    window subscription_order as (
        partition by account_id, subscription_id order by event_number
    )

),

-- Grain: one row per start or end of being paid.
workspace_edges as (

    select
        *,
        lead(plan_id) over subscription_order as next_plan_id,
        lead(occurred_us) over subscription_order as next_us,
    from workspace_turns
    where is_paid <> is_paid_before
    window subscription_order as (
        partition by account_id, subscription_id order by event_number
    )

),

healed_edges as (

    select
        *,
        coalesce(
            not is_paid
            and next_plan_id = plan_id_before
            and next_us - occurred_us
            < {{ hours_us(var('restore_grace_hours')) }},
            false
        ) as is_healed,
    from workspace_edges

),

paid_workspace_edges as (

    select
        account_id,
        event_number,
        case
            when is_healed then 0
            when not is_paid then -1
            when lag(is_healed, 1, false) over (
                partition by account_id, subscription_id order by event_number
            ) then 0
            else 1
        end as paid_change,
    from healed_edges

),

paid_workspace_counts as (

    select
        account_id,
        event_number,
        is_renewal,
        sum(paid_change) over (
            partition by account_id order by event_number
        ) as paid_workspaces,
    from (
        select
            account_id,
            event_number,
            paid_change,
            false as is_renewal,
        from paid_workspace_edges
        union all
        select
            account_id,
            event_number,
            0 as paid_change,
            true as is_renewal,
        from plan_renewed
        where attribution = 'account'
    ) as edges_and_renewals

),

-- What may open a paid state; an account-level renewal beside a paid workspace may not.
marked as (

    select
        candidates.*,
        candidates.event_type = 'plan_renewed'
        and candidates.plan_id is null as is_plan_unstated,
        candidates.event_type = 'plan_renewed'
        and candidates.attribution = 'account'
        and (candidates.is_paid or candidates.plan_id is null)
        and coalesce(paid_workspace_counts.paid_workspaces > 0, false) as is_barred,
    from candidates
    left join paid_workspace_counts
        on
            candidates.account_id = paid_workspace_counts.account_id
            and candidates.event_number = paid_workspace_counts.event_number
            and paid_workspace_counts.is_renewal
            and candidates.attribution = 'account'

),

-- Whether each event that is not barred leaves the subscription paid; a renewal without a
-- plan does when any plan before it was paid.
with_openness as (

    select
        *,
        case
            when is_barred then null
            when is_plan_unstated
                then coalesce(
                    max(case when not is_barred then is_paid end) over (
                        partition by account_id, subscription_id
                        order by event_number
                        rows between unbounded preceding and 1 preceding
                    ),
                    false
                )
            else is_paid
        end as leaves_paid,
    from marked

),

-- A barred renewal still counts where the account-level subscription is paid already.
admitted as (

    select *
    from with_openness
    qualify
        not is_barred
        or coalesce(
            last_value(leaves_paid ignore nulls) over (
                partition by account_id, subscription_id
                order by event_number
                rows between unbounded preceding and 1 preceding
            ),
            false
        )

),

resolved as (

    select
        *,
        case
            when is_plan_unstated
                then last_value(case when is_paid then plan_id end ignore nulls) over (
                    partition by account_id, subscription_id
                    order by event_number
                    rows between unbounded preceding and 1 preceding
                )
            else plan_id
        end as to_plan_id,
    from admitted

)

select
    account_id,
    subscription_id,
    attribution,
    event_number,
    event_id,
    event_type,
    occurred_at,
    occurred_us,
    event_time_source,
    workspace_id,
    to_plan_id as plan_id,
    lag(to_plan_id) over (
        partition by account_id, subscription_id order by event_number
    ) as plan_id_before,
    auto_renew,
    start_date,
    end_date,
    renewal_date,
from resolved
where not is_plan_unstated or to_plan_id is not null
