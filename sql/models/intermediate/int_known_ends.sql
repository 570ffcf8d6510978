{{ config(database='delta', schema='main') }}
-- One row per plan event within a paid state, with the state's known end before and after
-- the event. The end is what the latest plan_changed states; a renewal moves it on.
with

plan_events as (

    select * from {{ account_ref('int_plan_events') }}

),

states as (

    select * from {{ account_ref('int_plan_states') }}

),

in_states as (

    select
        plan_events.account_id,
        plan_events.subscription_id,
        plan_events.event_number,
        plan_events.event_type,
        plan_events.occurred_at,
        plan_events.occurred_us,
        plan_events.plan_id,
        plan_events.auto_renew,
        plan_events.start_date,
        plan_events.end_date,
        plan_events.renewal_date,
        max(states.state_number) over (
            partition by plan_events.account_id, plan_events.subscription_id
            order by plan_events.event_number
        ) as state_number,
    from plan_events
    left join states
        on
            plan_events.account_id = states.account_id
            and plan_events.subscription_id = states.subscription_id
            and plan_events.event_number = states.event_number

),

-- A healed gap never happened, so what it said of another plan says nothing of this one.
in_paid_states as (

    select
        in_states.*,
        states.interval_months,
        first_value(in_states.start_date ignore nulls) over (
            partition by
                in_states.account_id, in_states.subscription_id, in_states.state_number
            order by in_states.event_number
            rows between unbounded preceding and current row
        ) as first_start_date,
    from in_states
    inner join states
        on
            in_states.account_id = states.account_id
            and in_states.subscription_id = states.subscription_id
            and in_states.state_number = states.state_number
            and in_states.plan_id = states.plan_id
    where states.is_paid

),

stated_ends as (

    select
        *,
        case
            when end_date is not null then end_date
            when event_type = 'plan_renewed' and renewal_date is not null
                then {{ day_in_month(
                    month_number('renewal_date') ~ ' + interval_months',
                    'extract(day from coalesce(first_start_date, renewal_date))',
                ) }}
        end as stated_end_date,
        case
            when
                event_type = 'plan_renewed'
                and end_date is null
                and renewal_date is null
                then interval_months
            else 0
        end as months_added,
    from in_paid_states

),

-- A renewal that states no day adds an interval to the end known so far: counted in months
-- from the last stated end, so that a 31st survives February.
anchored as (

    select
        *,
        count(stated_end_date) over (
            partition by account_id, subscription_id, state_number
            order by event_number
        ) as anchor_number,
    from stated_ends

),

with_anchors as (

    select
        *,
        max(stated_end_date) over (
            partition by account_id, subscription_id, state_number, anchor_number
        ) as anchor_date,
        sum(months_added) over (
            partition by account_id, subscription_id, state_number, anchor_number
            order by event_number
        ) as months_since_anchor,
        -- as known to the latest renewal: a start stated later moves nothing
        last_value(
            case when months_added > 0 then extract(day from first_start_date) end
            ignore nulls
        ) over (
            partition by account_id, subscription_id, state_number, anchor_number
            order by event_number
            rows between unbounded preceding and current row
        ) as renewal_day,
    from anchored

),

known as (

    select
        *,
        case
            when months_since_anchor = 0 then anchor_date
            else {{ day_in_month(
                month_number('anchor_date') ~ ' + months_since_anchor',
                'coalesce(renewal_day, extract(day from anchor_date))',
            ) }}
        end as known_end_date,
    from with_anchors

)

select
    account_id,
    subscription_id,
    state_number,
    event_number,
    event_type,
    occurred_at,
    occurred_us,
    plan_id,
    auto_renew,
    end_date,
    lag(known_end_date) over state_order as known_end_date_before,
    known_end_date,
    lead(occurred_us) over state_order as next_us,
from known
window state_order as (
    partition by account_id, subscription_id, state_number order by event_number
)
