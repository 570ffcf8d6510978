{{ config(schema='main') }}
-- One row per subscription and stretch of one plan, half-open: [valid_from, valid_to).
-- A state that another of the same instant replaced lasted no time and has no row.
with

states as (

    select *
    from {{ account_ref('int_plan_states') }}
    where
        plan_id is not null
        and (ended_us is null or ended_us > occurred_us)

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
    states.attribution,
    states.plan_id,
    {{ instant('states.occurred_us') }} as valid_from,
    {{ instant('states.ended_us') }} as valid_to,
    states.is_paid,
    states.is_unpriced,
    states.mrr,
    states.mrr_cost,
    states.currency,
    states.tier,
    known_ends.auto_renew,
    known_ends.known_end_date as period_end,
    states.is_day_only,
    states.event_number,
from states
left join known_ends
    on
        states.subscription_number = known_ends.subscription_number
        and states.state_number = known_ends.state_number
