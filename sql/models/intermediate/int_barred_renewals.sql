{{ config(database='delta', schema='main') }}
-- One row per account-level renewal that opens nothing: a workspace of the account was
-- paid at the time and the account-level subscription was not. Such accounts are few
-- (they mix events with and without a workspace), so all of this is computed for them
-- alone.
with recursive

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
        false as is_paid,
    from closures
    inner join mixed_accounts on closures.account_id = mixed_accounts.account_id

),

-- First the workspaces: when is one of them paid, healed gaps included? A renewal that
-- names no plan is of the last one that was paid.
workspace_turns as (

    select
        account_id,
        subscription_number,
        event_number,
        occurred_us,
        is_paid,
        case
            when is_renewal and plan_id is null
                then last_value(case when is_paid then plan_id end ignore nulls)
                    over (
                        partition by subscription_number
                        order by event_number
                        rows between unbounded preceding and 1 preceding
                    )
            else plan_id
        end as plan_id,
        is_renewal and plan_id is null as is_plan_guessed,
    from turns
    where not is_account_level

),

workspace_turns_and_before as (

    select
        turns.account_id,
        turns.subscription_number,
        turns.event_number,
        turns.occurred_us,
        turns.plan_id,
        case
            when turns.is_plan_guessed
                then {{ is_paid_plan('turns.plan_id', 'prices.mrr') }}
            else turns.is_paid
        end as is_paid,
        lag(turns.plan_id) over (
            partition by turns.subscription_number order by turns.event_number
        ) as plan_id_before,
    from workspace_turns as turns
    left join prices
        on
            turns.is_plan_guessed
            and turns.plan_id = prices.plan_id
            and turns.occurred_us >= prices.priced_from_us
            and turns.occurred_us < prices.priced_to_us
    where turns.plan_id is not null or not turns.is_plan_guessed

),

-- A repeat changes nothing, whatever the plan costs by then.
workspace_changes as (

    select
        *,
        coalesce(
            lag(is_paid) over (partition by subscription_number order by event_number),
            false
        ) as is_paid_before,
    from workspace_turns_and_before
    where plan_id is distinct from plan_id_before

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
    from workspace_changes
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

-- Grain: account-level renewal, and whether a workspace was paid.
paid_workspaces as (

    select
        account_id,
        event_number,
        paid_count > 0 as is_beside,
    from (
        select
            account_id,
            event_number,
            is_renewal,
            sum(paid_change) over (
                partition by account_id order by event_number
            ) as paid_count,
        from edges_and_renewals
    ) as counted
    where is_renewal

),

-- Grain: account with a renewal that may be barred.
walked_accounts as (

    select
        account_id,
        max(event_number) as last_event_number,
    from paid_workspaces
    where is_beside
    group by account_id

),

account_turns as (

    select
        turns.account_id,
        turns.event_number,
        turns.event_row,
        turns.occurred_us,
        turns.plan_id,
        turns.is_renewal,
        coalesce(paid_workspaces.is_beside, false) as is_beside,
        row_number() over (
            partition by turns.account_id order by turns.event_number
        ) as turn_number,
    from turns
    inner join walked_accounts
        on
            turns.account_id = walked_accounts.account_id
            and turns.event_number <= walked_accounts.last_event_number
    left join paid_workspaces
        on
            turns.account_id = paid_workspaces.account_id
            and turns.event_number = paid_workspaces.event_number
    where turns.is_account_level

),

-- Then the account-level subscription, turn by turn: a renewal to something paid beside
-- a paid workspace is barred unless the subscription is paid already. What is barred
-- leaves no trace: neither a state nor a last paid plan.
walked as (

    select
        account_id,
        cast(0 as bigint) as turn_number,
        cast(null as bigint) as event_row,
        false as is_barred,
        cast(null as varchar) as plan_id,
        false as is_paid,
        cast(null as varchar) as last_paid_plan_id,
    from walked_accounts
    union all
    select
        account_id,
        turn_number,
        event_row,
        is_barred,
        case when is_barred then plan_id_before else plan_id end as plan_id,
        case
            when is_barred or is_repeated then is_paid_before
            else is_paid_now
        end as is_paid,
        case
            when is_paid_now and not is_barred then plan_id
            else last_paid_plan_id
        end as last_paid_plan_id,
    from (
        select
            *,
            coalesce(
                plan_id = plan_id_before, plan_id is null and plan_id_before is null
            ) as is_repeated,
            is_beside and is_paid_now and not is_paid_before as is_barred,
        from (
            select
                turns.*,
                {{ is_paid_plan('turns.plan_id', 'prices.mrr') }} as is_paid_now,
            from (
                select
                    account_turns.account_id,
                    account_turns.turn_number,
                    account_turns.event_row,
                    account_turns.occurred_us,
                    account_turns.is_beside,
                    case
                        when account_turns.is_renewal
                            then coalesce(
                                account_turns.plan_id,
                                walked.last_paid_plan_id,
                                walked.plan_id
                            )
                        else account_turns.plan_id
                    end as plan_id,
                    walked.plan_id as plan_id_before,
                    walked.is_paid as is_paid_before,
                    walked.last_paid_plan_id,
                from walked
                inner join account_turns
                    on
                        walked.account_id = account_turns.account_id
                        and walked.turn_number + 1 = account_turns.turn_number
            ) as turns
            left join prices
                on
                    turns.plan_id = prices.plan_id
                    and turns.occurred_us >= prices.priced_from_us
                    and turns.occurred_us < prices.priced_to_us
        ) as priced_turns
    ) as judged_turns

)

select event_row
from walked
where is_barred
