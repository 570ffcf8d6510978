-- One row per subscription and day on which its paid period was known to end when the
-- window of that day's renewal opened, three days before: what was expected, whether or
-- not the day has come, and the event in the window that explains it (NULL = none has).
with

states as (

    select *
    from {{ account_ref('int_plan_states') }}
    where is_paid

),

-- From each plan event of a paid state until the next.
known_ends as (

    select
        *,
        {{ midnight_us('(known_end_date - 3)') }} as window_from_us,
    from {{ account_ref('int_known_ends') }}
    where known_end_date is not null and coalesce(auto_renew, true)

),

closings as (

    select * from {{ account_ref('int_overdue_closings') }}

),

notices as (

    select * from {{ account_ref('stg_overdue_payment') }}

),

-- An event belongs either to what was known before the window or to what came within.
expected as (

    select
        states.account_id,
        states.subscription_number,
        states.subscription_id,
        states.attribution,
        states.plan_id,
        states.mrr,
        states.currency,
        known_ends.known_end_date as end_date,
        known_ends.window_from_us,
        known_ends.window_from_us + {{ days_us(8) }} as window_to_us,
        case when states.attribution <> 'account' then states.subscription_id end
            as workspace_id,
        coalesce(
            known_ends.is_next_renewal
            and known_ends.next_occurred_us
            < known_ends.window_from_us + {{ days_us(8) }},
            false
        ) as is_renewed,
    from known_ends
    inner join states
        on
            known_ends.subscription_number = states.subscription_number
            and known_ends.state_number = states.state_number
    where
        known_ends.occurred_us < known_ends.window_from_us
        and coalesce(known_ends.next_occurred_us >= known_ends.window_from_us, true)
        and coalesce(states.ended_us >= known_ends.window_from_us, true)

),

-- Most are renewed by the next event of their own subscription, before which no other
-- explanation counts: only the rest is looked for among all that the account did.
unexplained as (

    select * from expected
    where not is_renewed

),

-- What recovers or loses a payment renews or ends a period as well; a workspace's
-- deletion ends nothing but its own subscription, unless it was the last.
explanations as (

    select
        unexplained.subscription_number,
        unexplained.end_date,
        case closings.outcome when 'recovered' then 1 else 2 end as rank,
    from unexplained
    inner join closings
        on
            unexplained.account_id = closings.account_id
            and unexplained.window_from_us <= closings.occurred_us
            and unexplained.window_to_us > closings.occurred_us
    where
        coalesce(
            unexplained.workspace_id = closings.workspace_id,
            closings.reach = 'any'
            or (closings.reach = 'last' and unexplained.workspace_id is null)
        )
    union all
    select
        unexplained.subscription_number,
        unexplained.end_date,
        3 as rank,
    from unexplained
    inner join notices
        on
            unexplained.account_id = notices.account_id
            and unexplained.window_from_us <= notices.occurred_us
            and unexplained.window_to_us > notices.occurred_us
    where coalesce(unexplained.workspace_id = notices.workspace_id, true)

),

-- Grain: expected renewal that something explains.
explained as (

    select
        subscription_number,
        end_date,
        min(rank) as rank,
    from explanations
    group by subscription_number, end_date

)

select
    expected.account_id,
    expected.subscription_id,
    expected.attribution,
    expected.plan_id,
    expected.end_date,
    {{ month_number('expected.end_date') }} as month_number,
    expected.mrr,
    expected.currency,
    case
        when expected.is_renewed or explained.rank = 1 then 'renewed'
        when explained.rank = 2 then 'ended'
        when explained.rank = 3 then 'overdue'
    end as outcome,
from expected
left join explained
    on
        expected.subscription_number = explained.subscription_number
        and expected.end_date = explained.end_date
