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

    select
        account_id,
        subscription_id,
        state_number,
        max_by(
            known_end_date,
            case when known_end_date is not null then event_number end
        ) as known_end_date,
        max_by(
            auto_renew,
            case when auto_renew is not null then event_number end
        ) as auto_renew,
    from {{ account_ref('int_known_ends') }}
    group by account_id, subscription_id, state_number

)

select
    states.account_id,
    states.subscription_id,
    states.attribution,
    states.plan_id,
    states.occurred_at as valid_from,
    states.ended_at as valid_to,
    states.is_paid,
    states.is_unpriced,
    states.mrr,
    states.mrr_cost,
    states.currency,
    states.tier,
    known_ends.auto_renew,
    known_ends.known_end_date as period_end,
    states.event_time_source,
    states.event_number,
    states.ended_event_number,
from states
left join known_ends
    on
        states.account_id = known_ends.account_id
        and states.subscription_id = known_ends.subscription_id
        and states.state_number = known_ends.state_number
