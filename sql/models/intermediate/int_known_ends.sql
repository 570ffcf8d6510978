{{ config(database='delta', schema='main') }}
-- One row per plan event within a paid state, with the state's known end from then on.
-- The end is what the latest plan_changed states; a renewal moves it on. auto_renew:
-- last stated in the state by then. The state's last row has no next event.
with

plan_events as (

    select *
    from {{ account_ref('int_plan_events') }}
    where event_type <> 'workspace_deleted'

),

states as (

    select *
    from {{ account_ref('int_plan_states') }}
    where is_paid

),

-- A healed gap never happened, so what it said of another plan says nothing of this
-- one.
in_paid_states as (

    select
        plan_events.subscription_number,
        states.state_number,
        plan_events.event_number,
        plan_events.occurred_us,
        plan_events.end_date,
        plan_events.renewal_date,
        plan_events.event_type = 'plan_renewed' as is_renewal,
        states.interval_months,
        first_value(plan_events.start_date ignore nulls) over (
            state_order rows between unbounded preceding and current row
        ) as first_start_date,
        last_value(plan_events.auto_renew ignore nulls) over (
            state_order rows between unbounded preceding and current row
        ) as auto_renew,
        lead(plan_events.event_number) over state_order as next_event_number,
        lead(plan_events.occurred_us) over state_order as next_occurred_us,
        lead(plan_events.event_type = 'plan_renewed') over state_order
            as is_next_renewal,
    from plan_events
    inner join states
        on
            plan_events.subscription_number = states.subscription_number
            and plan_events.plan_id = states.plan_id
            and plan_events.event_number >= states.event_number
            and (
                states.ended_event_number is null
                or plan_events.event_number < states.ended_event_number
            )
    window state_order as (
        partition by states.subscription_number, states.state_number
        order by plan_events.event_number
    )

),

stated_ends as (

    select
        *,
        case
            when end_date is not null then end_date
            when is_renewal and renewal_date is not null
                then {{ day_in_month(
                    month_number('renewal_date') ~ ' + interval_months',
                    'extract(day from coalesce(first_start_date, renewal_date))',
                ) }}
        end as stated_end_date,
        case
            when is_renewal and end_date is null and renewal_date is null
                then interval_months
            else 0
        end as months_added,
        extract(day from first_start_date) as first_start_day,
    from in_paid_states

),

-- Grain: state of which an event states no end. They are few: elsewhere each event's
-- own end is the known one.
counted_states as (

    select distinct
        subscription_number,
        state_number,
    from stated_ends
    where stated_end_date is null

),

-- A renewal that states no day adds an interval to the end known so far: counted in
-- months from the last stated end (the anchor), so that a 31st survives February.
numbered as (

    select
        stated_ends.*,
        count(stated_ends.stated_end_date) over (
            partition by stated_ends.subscription_number, stated_ends.state_number
            order by stated_ends.event_number
            rows between unbounded preceding and current row
        ) as anchor_number,
    from stated_ends
    inner join counted_states
        on
            stated_ends.subscription_number = counted_states.subscription_number
            and stated_ends.state_number = counted_states.state_number

),

-- renewal_day: as known to the latest renewal; a start stated later moves nothing.
with_anchors as (

    select
        *,
        max(stated_end_date) over from_anchor as anchor_date,
        sum(months_added) over from_anchor as months_since_anchor,
        last_value(case when months_added > 0 then first_start_day end ignore nulls)
            over from_anchor as renewal_day,
    from numbered
    window from_anchor as (
        partition by subscription_number, state_number, anchor_number
        order by event_number
        rows between unbounded preceding and current row
    )

),

known as (

    select
        subscription_number,
        state_number,
        event_number,
        occurred_us,
        case
            when months_since_anchor = 0 then anchor_date
            else {{ day_in_month(
                month_number('anchor_date') ~ ' + months_since_anchor',
                'coalesce(renewal_day, extract(day from anchor_date))',
            ) }}
        end as known_end_date,
        auto_renew,
        next_event_number,
        next_occurred_us,
        is_next_renewal,
    from with_anchors
    union all
    select
        stated_ends.subscription_number,
        stated_ends.state_number,
        stated_ends.event_number,
        stated_ends.occurred_us,
        stated_ends.stated_end_date as known_end_date,
        stated_ends.auto_renew,
        stated_ends.next_event_number,
        stated_ends.next_occurred_us,
        stated_ends.is_next_renewal,
    from stated_ends
    left join counted_states
        on
            stated_ends.subscription_number = counted_states.subscription_number
            and stated_ends.state_number = counted_states.state_number
    where counted_states.state_number is null

)

select * from known
