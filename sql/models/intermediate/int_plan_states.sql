{{ config(database='delta', schema='main') }}
-- One row per change of a subscription's state: repeats collapsed, gaps healed by a
-- restore within the grace removed. Each row holds the state it begins and the state it
-- ends. States of one instant each have their row; the last of them is the state at the
-- instant.
with

plan_events as (

    select *
    from {{ account_ref('int_plan_events') }}
    where plan_id is distinct from plan_id_before

),

prices as (

    select * from {{ ref('int_plan_prices') }}

),

changes as (

    select
        plan_events.subscription_number,
        plan_events.event_number,
        plan_events.event_row,
        plan_events.event_type,
        plan_events.occurred_us,
        plan_events.is_day_only,
        plan_events.is_workspace_stated,
        plan_events.plan_id,
        plan_events.auto_renew,
        plan_events.start_date,
        plan_events.end_date,
        prices.mrr,
        prices.mrr_cost,
        prices.tier,
        prices.currency,
        prices.interval_months,
        {{ is_paid_plan('plan_events.plan_id', 'prices.mrr') }} as is_paid,
    from plan_events
    left join prices
        on
            plan_events.plan_id = prices.plan_id
            and plan_events.occurred_us >= prices.priced_from_us
            and plan_events.occurred_us < prices.priced_to_us

),

-- Grain: subscription that was on one paid plan twice; only there can a gap be healed.
returned as (

    select distinct subscription_number
    from (
        select subscription_number
        from changes
        where is_paid
        group by subscription_number, plan_id
        having count(*) > 1
    ) as paid_twice

),

-- A stretch is one paid state and the unpaid states that follow it.
in_stretches as (

    select
        changes.subscription_number,
        changes.event_number,
        changes.occurred_us,
        changes.plan_id,
        changes.is_paid,
        sum(case when changes.is_paid then 1 else 0 end) over (
            partition by changes.subscription_number
            order by changes.event_number
        ) as stretch_number,
    from changes
    inner join returned
        on changes.subscription_number = returned.subscription_number

),

-- Grain: stretch.
stretches as (

    select
        subscription_number,
        stretch_number,
        max(case when is_paid then plan_id end) as plan_id,
        max(case when is_paid then occurred_us end) as paid_us,
        min(case when not is_paid then occurred_us end) as unpaid_us,
    from in_stretches
    group by subscription_number, stretch_number

),

-- Healed: back on the same plan before the grace was over; the gap never happened.
healing as (

    select
        subscription_number,
        stretch_number,
        coalesce(
            lead(plan_id) over subscription_order = plan_id
            and lead(paid_us) over subscription_order - unpaid_us
            < {{ var('restore_grace_hours') }} * {{ hours_us(1) }},
            false
        ) as is_healed,
    from stretches
    window subscription_order as (
        partition by subscription_number order by stretch_number
    )

),

healing_and_before as (

    select
        *,
        coalesce(
            lag(is_healed) over (
                partition by subscription_number order by stretch_number
            ),
            false
        ) as is_restored,
    from healing

),

-- Grain: change that never happened.
undone as (

    select
        in_stretches.subscription_number,
        in_stretches.event_number,
    from in_stretches
    inner join healing_and_before
        on
            in_stretches.subscription_number = healing_and_before.subscription_number
            and in_stretches.stretch_number = healing_and_before.stretch_number
    where
        case
            when in_stretches.is_paid then healing_and_before.is_restored
            else healing_and_before.is_healed
        end

),

states as (

    select
        changes.*,
        case when changes.is_paid and changes.mrr is not null then changes.currency end
            as priced_currency,
    from changes
    left join undone
        on
            changes.subscription_number = undone.subscription_number
            and changes.event_number = undone.event_number
    where undone.subscription_number is null

),

-- Grain: subscription with an unpriced paid state.
unpriced_subscriptions as (

    select distinct subscription_number
    from states
    where is_paid and mrr is null

),

-- An unpriced plan has the currency of the paid plan right before it, else right after
-- it.
borrowed_currencies as (

    select
        states.subscription_number,
        states.event_number,
        coalesce(
            last_value(
                states.priced_currency ignore nulls
            ) over (
                partition by states.subscription_number
                order by states.event_number
                rows between unbounded preceding and current row
            ),
            first_value(
                states.priced_currency ignore nulls
            ) over (
                partition by states.subscription_number
                order by states.event_number
                rows between current row and unbounded following
            ),
            'unknown'
        ) as currency,
    from states
    inner join unpriced_subscriptions
        on states.subscription_number = unpriced_subscriptions.subscription_number

),

valued as (

    select
        states.subscription_number,
        states.event_number,
        states.event_row,
        states.event_type,
        states.occurred_us,
        states.is_day_only,
        states.is_workspace_stated,
        states.plan_id,
        states.auto_renew,
        states.start_date,
        states.end_date,
        states.is_paid,
        states.is_paid and states.mrr is null as is_unpriced,
        cast(
            case when states.is_paid then coalesce(states.mrr, 0) else 0 end
            as decimal(18, 2)
        ) as mrr,
        cast(
            case when states.is_paid then coalesce(states.mrr_cost, 0) else 0 end
            as decimal(18, 2)
        ) as mrr_cost,
        states.tier,
        coalesce(states.interval_months, 1) as interval_months,
        case
            when states.is_paid
                then coalesce(states.priced_currency, borrowed_currencies.currency)
        end as currency,
    from states
    left join borrowed_currencies
        on
            states.subscription_number = borrowed_currencies.subscription_number
            and states.event_number = borrowed_currencies.event_number

),

-- Grain: subscription.
subscriptions as (

    select
        account_id,
        subscription_number,
        subscription_id,
        attribution,
    from {{ account_ref('stg_subscriptions') }}
    where is_own

),

numbered as (

    select
        subscription_number,
        row_number() over subscription_order as state_number,
        event_number,
        event_row,
        event_type,
        occurred_us,
        lead(occurred_us) over subscription_order as ended_us,
        lead(event_number) over subscription_order as ended_event_number,
        is_day_only,
        is_workspace_stated,
        plan_id,
        auto_renew,
        start_date,
        end_date,
        is_paid,
        is_unpriced,
        mrr,
        mrr_cost,
        tier,
        interval_months,
        currency,
        lag(plan_id) over subscription_order as plan_id_before,
        coalesce(lag(is_paid) over subscription_order, false) as is_paid_before,
        coalesce(lag(is_unpriced) over subscription_order, false) as is_unpriced_before,
        coalesce(lag(mrr) over subscription_order, 0) as mrr_before,
        coalesce(lag(mrr_cost) over subscription_order, 0) as mrr_cost_before,
        lag(tier) over subscription_order as tier_before,
        lag(currency) over subscription_order as currency_before,
        coalesce(
            max(is_paid) over (
                partition by subscription_number
                order by event_number
                rows between unbounded preceding and 1 preceding
            ),
            false
        ) as is_paid_ever_before,
    from valued
    window subscription_order as (
        partition by subscription_number order by event_number
    )

)

select
    subscriptions.account_id,
    subscriptions.subscription_id,
    case
        when subscriptions.attribution = 'account' then 'account'
        when numbered.is_workspace_stated then 'workspace'
        else 'inferred'
    end as attribution,
    numbered.*,
from numbered
inner join subscriptions
    on numbered.subscription_number = subscriptions.subscription_number
