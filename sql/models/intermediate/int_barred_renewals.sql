{{ config(database='delta', schema='main') }}
-- One row per account-level renewal that opens nothing: a workspace of the account was
-- paid at the time and the account-level subscription was not. Such accounts are few
-- (they mix events with and without a workspace), so all of this is computed for them
-- alone.
with

plan_changed as (

    select * from {{ account_ref('stg_plan_changed') }}

),

plan_renewed as (

    select * from {{ account_ref('stg_plan_renewed') }}

),

closures as (

    select * from {{ account_ref('int_closures') }}

),

prices as (

    select * from {{ ref('int_plan_prices') }}

),

-- Grain: account.
renewed_accounts as (

    select distinct account_id
    from plan_renewed
    where attribution = 'account'

),

stated as (

    {% for renewals in [false, true] %}
        select
            plan_events.account_id,
            plan_events.subscription_number,
            plan_events.attribution = 'account' as is_account_level,
            plan_events.event_number,
            plan_events.event_row,
            plan_events.occurred_us,
            plan_events.plan_id,
            {{ renewals }} as is_renewal,
        from {{ 'plan_renewed' if renewals else 'plan_changed' }} as plan_events
        inner join renewed_accounts
            on plan_events.account_id = renewed_accounts.account_id
        {{ 'union all' if not renewals }}
    {%- endfor %}

),

-- Grain: account that has both kinds.
mixed_accounts as (

    select account_id
    from stated
    group by account_id
    having min(subscription_number) <> max(subscription_number)

),

turns as (

    select
        stated.account_id,
        stated.subscription_number,
        stated.is_account_level,
        stated.event_number,
        stated.event_row,
        stated.occurred_us,
        stated.plan_id,
        stated.is_renewal,
        stated.plan_id is null as is_plan_unstated,
        {{ is_paid_plan('stated.plan_id', 'prices.mrr') }} as is_paid,
    from stated
    inner join mixed_accounts on stated.account_id = mixed_accounts.account_id
    left join prices
        on
            stated.plan_id = prices.plan_id
            and stated.occurred_us >= prices.priced_from_us
            and stated.occurred_us < prices.priced_to_us
    union all
    select
        closures.account_id,
        closures.subscription_number,
        closures.is_account_level,
        closures.event_number,
        closures.event_row,
        closures.occurred_us,
        cast(null as varchar) as plan_id,
        false as is_renewal,
        false as is_plan_unstated,
        false as is_paid,
    from closures
    inner join mixed_accounts on closures.account_id = mixed_accounts.account_id

),

-- First the workspaces: when is one of them paid, healed gaps included?
workspace_turns as (

    select
        account_id,
        subscription_number,
        event_number,
        occurred_us,
        is_plan_unstated,
        case
            when is_plan_unstated
                then last_value(case when is_paid then plan_id end ignore nulls)
                    over earlier
            else plan_id
        end as plan_id,
        case
            when is_plan_unstated then coalesce(max(is_paid) over earlier, false)
            else is_paid
        end as is_paid,
    from turns
    where not is_account_level
    window earlier as (
        partition by subscription_number
        order by event_number
        rows between unbounded preceding and 1 preceding
    )

),

workspace_turns_and_before as (

    select
        *,
        lag(plan_id) over subscription_order as plan_id_before,
        coalesce(lag(is_paid) over subscription_order, false) as is_paid_before,
    from workspace_turns
    where plan_id is not null or not is_plan_unstated
    window subscription_order as (
        partition by subscription_number order by event_number
    )

),

-- Grain: start or end of being paid.
edges as (

    select
        account_id,
        subscription_number,
        event_number,
        is_paid,
        coalesce(
            not is_paid
            and lead(plan_id) over subscription_order = plan_id_before
            and lead(occurred_us) over subscription_order - occurred_us
            < {{ var('restore_grace_hours') }} * {{ hours_us(1) }},
            false
        ) as is_healed,
    from workspace_turns_and_before
    where is_paid <> is_paid_before
    window subscription_order as (
        partition by subscription_number order by event_number
    )

),

edges_and_renewals as (

    select
        account_id,
        event_number,
        case
            when is_healed then 0
            when not is_paid then -1
            when coalesce(
                lag(is_healed) over (
                    partition by subscription_number order by event_number
                ),
                false
            ) then 0
            else 1
        end as paid_change,
        false as is_renewal,
    from edges
    union all
    select
        account_id,
        event_number,
        0 as paid_change,
        true as is_renewal,
    from turns
    where is_account_level and is_renewal

),

paid_workspaces as (

    select
        account_id,
        event_number,
        is_renewal,
        sum(paid_change) over (
            partition by account_id order by event_number
        ) as paid_count,
    from edges_and_renewals

),

-- Then the account-level subscription: a renewal to something paid beside a paid
-- workspace is not admitted unless the subscription is paid already.
account_turns as (

    select
        turns.*,
        coalesce(
            paid_workspaces.paid_count > 0
            and (turns.is_paid or turns.is_plan_unstated),
            false
        ) as is_beside,
    from turns
    left join paid_workspaces
        on
            turns.account_id = paid_workspaces.account_id
            and turns.event_number = paid_workspaces.event_number
            and paid_workspaces.is_renewal
    where turns.is_account_level

),

-- Whether each of the others leaves it paid; one without a plan does when any plan
-- before it was paid.
with_outcome as (

    select
        *,
        case
            when is_beside then null
            when is_plan_unstated
                then coalesce(
                    max(case when not is_beside then is_paid end) over (
                        partition by subscription_number
                        order by event_number
                        rows between unbounded preceding and 1 preceding
                    ),
                    false
                )
            else is_paid
        end as leaves_paid,
    from account_turns

),

with_state_before as (

    select
        *,
        last_value(leaves_paid ignore nulls) over (
            partition by subscription_number
            order by event_number
            rows between unbounded preceding and 1 preceding
        ) as is_paid_before,
    from with_outcome

)

select event_row
from with_state_before
where is_beside and not coalesce(is_paid_before, false)
