{{ config(database='delta', schema='main') }}
-- One row per event that states, proves or ends the plan of a subscription, with the
-- plan it leads to (NULL = none) and the one before it, restore gaps not yet healed,
-- and all that later models ask of the event.
-- Left out: renewals of a plan nobody knows, and account-level renewals that would open
-- a paid state while a workspace of the account is paid.
with

plan_changed as (

    select * from {{ account_ref('stg_plan_changed') }}

),

plan_renewed as (

    select * from {{ account_ref('stg_plan_renewed') }}

),

deletions as (

    select *
    from {{ account_ref('int_workspaces') }}
    where deletion_event_number is not null

),

barred_renewals as (

    select * from {{ account_ref('int_barred_renewals') }}

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
        occurred_us,
        event_time_source = 'date' as is_day_only,
        workspace_id,
        plan_id,
        auto_renew,
        start_date,
        end_date,
        cast(null as date) as renewal_date,
    from plan_changed
    union all
    select
        plan_renewed.account_id,
        plan_renewed.subscription_id,
        plan_renewed.attribution,
        plan_renewed.event_number,
        plan_renewed.event_id,
        plan_renewed.event_type,
        plan_renewed.occurred_us,
        plan_renewed.event_time_source = 'date' as is_day_only,
        plan_renewed.workspace_id,
        plan_renewed.plan_id,
        plan_renewed.auto_renew,
        cast(null as date) as start_date,
        plan_renewed.end_date,
        plan_renewed.renewal_date,
    from plan_renewed
    left join barred_renewals
        on
            plan_renewed.account_id = barred_renewals.account_id
            and plan_renewed.event_number = barred_renewals.event_number
    where barred_renewals.account_id is null

),

-- Grain: subscription of an account that lost a workspace.
subscriptions as (

    select distinct
        stated.account_id,
        stated.subscription_id,
        stated.attribution = 'account' as is_account_level,
    from stated
    inner join deletions on stated.account_id = deletions.account_id

),

-- Grain: deletion and subscription that it ends: the workspace's own, and the account-
-- level one with the account's last live workspace.
closures as (

    select
        deletions.account_id,
        subscriptions.subscription_id,
        case
            when subscriptions.is_account_level then 'account' else 'workspace'
        end as attribution,
        deletions.deletion_event_number as event_number,
        deletions.deletion_event_id as event_id,
        deletions.deleted_us as occurred_us,
        deletions.workspace_id,
    from deletions
    inner join subscriptions on deletions.account_id = subscriptions.account_id
    where
        case
            when subscriptions.is_account_level then deletions.is_last_deletion
            else deletions.workspace_id = subscriptions.subscription_id
        end

),

priced as (

    select
        stated.*,
        stated.plan_id is null as is_plan_unstated,
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
        occurred_us,
        false as is_day_only,
        workspace_id,
        cast(null as varchar) as plan_id,
        cast(null as boolean) as auto_renew,
        cast(null as date) as start_date,
        cast(null as date) as end_date,
        cast(null as date) as renewal_date,
        false as is_plan_unstated,
        false as is_paid,
    from closures

),

resolved as (

    select
        account_id,
        subscription_id,
        attribution,
        event_number,
        event_id,
        event_type,
        occurred_us,
        is_day_only,
        workspace_id,
        auto_renew,
        start_date,
        end_date,
        renewal_date,
        is_plan_unstated,
        case
            when is_plan_unstated
                then last_value(case when is_paid then plan_id end ignore nulls) over (
                    partition by account_id, subscription_id
                    order by event_number
                    rows between unbounded preceding and 1 preceding
                )
            else plan_id
        end as plan_id,
    from priced

)

select
    account_id,
    subscription_id,
    attribution,
    event_number,
    event_id,
    event_type,
    occurred_us,
    is_day_only,
    workspace_id,
    plan_id,
    auto_renew,
    start_date,
    end_date,
    renewal_date,
    lag(plan_id) over (
        partition by account_id, subscription_id order by event_number
    ) as plan_id_before,
from resolved
where plan_id is not null or not is_plan_unstated
