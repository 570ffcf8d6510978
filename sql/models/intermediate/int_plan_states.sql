{{ config(database='delta', schema='main') }}
-- One row per change of a subscription's state: repeats collapsed, gaps healed by a restore
-- within the grace removed. Each row holds the state it begins and the state it ends.
-- States of one instant each have their row; the last of them is the state at the instant.
with

plan_events as (

    select * from {{ account_ref('int_plan_events') }}

),

prices as (

    select * from {{ ref('int_plan_prices') }}

),

changes as (

    select
        plan_events.*,
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
    where plan_events.plan_id is distinct from plan_events.plan_id_before

),

-- A stretch is one paid state and the unpaid states that follow it.
in_stretches as (

    select
        *,
        sum(case when is_paid then 1 else 0 end) over (
            partition by account_id, subscription_id order by event_number
        ) as stretch_number,
    from changes

),

-- Grain: stretch.
stretches as (

    select
        account_id,
        subscription_id,
        stretch_number,
        max(case when is_paid then plan_id end) as plan_id,
        max(case when is_paid then occurred_us end) as paid_us,
        min(case when not is_paid then occurred_us end) as unpaid_us,
    from in_stretches
    group by account_id, subscription_id, stretch_number

),

stretches_and_next as (

    select
        *,
        lead(plan_id) over subscription_order as next_plan_id,
        lead(paid_us) over subscription_order as next_paid_us,
    from stretches
    window subscription_order as (
        partition by account_id, subscription_id order by stretch_number
    )

),

-- Healed: back on the same plan before the grace was over; the gap never happened.
healing as (

    select
        account_id,
        subscription_id,
        stretch_number,
        coalesce(
            next_plan_id = plan_id
            and next_paid_us - unpaid_us < {{ hours_us(var('restore_grace_hours')) }},
            false
        ) as is_healed,
    from stretches_and_next

),

healing_and_before as (

    select
        *,
        coalesce(
            lag(is_healed) over (
                partition by account_id, subscription_id order by stretch_number
            ),
            false
        ) as is_restored,
    from healing

),

states as (

    select
        in_stretches.*,
        last_value(
            case when in_stretches.mrr is not null and in_stretches.is_paid
                then in_stretches.currency end
            ignore nulls
        ) over (
            partition by in_stretches.account_id, in_stretches.subscription_id
            order by in_stretches.event_number
            rows between unbounded preceding and current row
        ) as currency_before,
        first_value(
            case when in_stretches.mrr is not null and in_stretches.is_paid
                then in_stretches.currency end
            ignore nulls
        ) over (
            partition by in_stretches.account_id, in_stretches.subscription_id
            order by in_stretches.event_number
            rows between current row and unbounded following
        ) as currency_after,
    from in_stretches
    inner join healing_and_before
        on
            in_stretches.account_id = healing_and_before.account_id
            and in_stretches.subscription_id = healing_and_before.subscription_id
            and in_stretches.stretch_number = healing_and_before.stretch_number
    where
        case
            when in_stretches.is_paid then not healing_and_before.is_restored
            else not healing_and_before.is_healed
        end

),

valued as (

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
        auto_renew,
        start_date,
        end_date,
        plan_id,
        is_paid,
        is_paid and mrr is null as is_unpriced,
        case when is_paid then coalesce(mrr, 0) else 0 end as mrr,
        case when is_paid then coalesce(mrr_cost, 0) else 0 end as mrr_cost,
        tier,
        coalesce(interval_months, 1) as interval_months,
        case
            when is_paid and mrr is not null then currency
            when is_paid then coalesce(currency_before, currency_after, 'unknown')
        end as currency,
    from states

)

select
    account_id,
    subscription_id,
    row_number() over subscription_order as state_number,
    attribution,
    event_number,
    event_id,
    event_type,
    occurred_at,
    occurred_us,
    lead(occurred_at) over subscription_order as ended_at,
    lead(occurred_us) over subscription_order as ended_us,
    lead(event_number) over subscription_order as ended_event_number,
    event_time_source,
    workspace_id,
    auto_renew,
    start_date,
    end_date,
    plan_id,
    is_paid,
    is_unpriced,
    cast(mrr as decimal(18, 2)) as mrr,
    cast(mrr_cost as decimal(18, 2)) as mrr_cost,
    tier,
    interval_months,
    currency,
    lag(plan_id) over subscription_order as plan_id_before,
    coalesce(lag(is_paid) over subscription_order, false) as is_paid_before,
    coalesce(lag(is_unpriced) over subscription_order, false) as is_unpriced_before,
    coalesce(lag(cast(mrr as decimal(18, 2))) over subscription_order, 0) as mrr_before,
    coalesce(lag(cast(mrr_cost as decimal(18, 2))) over subscription_order, 0)
        as mrr_cost_before,
    lag(tier) over subscription_order as tier_before,
    lag(currency) over subscription_order as currency_before,
    coalesce(
        max(is_paid) over (
            partition by account_id, subscription_id
            order by event_number
            rows between unbounded preceding and 1 preceding
        ),
        false
    ) as is_paid_ever_before,
from valued
window subscription_order as (
    partition by account_id, subscription_id order by event_number
)
