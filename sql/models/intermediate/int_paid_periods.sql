{{ config(database='delta', schema='main') }}
-- One row per subscription and stretch of one paid plan: [from_us, to_us). What
-- int_plan_periods shows of it under its names, for the models that follow the money.
with

states as (

    select *
    from {{ account_ref('int_plan_states') }}
    where is_paid and (ended_us is null or ended_us > occurred_us)

),

-- Grain: state.
known_ends as (

    select *
    from {{ account_ref('int_known_ends') }}
    where next_event_number is null

)

select
    states.account_id,
    states.subscription_id,
    states.plan_id,
    states.occurred_us as from_us,
    states.ended_us as to_us,
    states.mrr,
    states.mrr_cost,
    states.currency,
    known_ends.auto_renew,
    known_ends.known_end_date as period_end,
    states.is_day_only,
    states.event_number,
from states
left join known_ends
    on
        states.subscription_number = known_ends.subscription_number
        and states.state_number = known_ends.state_number
