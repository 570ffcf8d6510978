-- One row per change of a subscription's state, with the change and the stretch on one
-- plan that it begins: stored once, shown as fct_plan_changes and as int_plan_periods.
with

states as (

    select
        *,
        case when is_paid or is_paid_before then coalesce(currency, currency_before) end
            as change_currency,
    from {{ account_ref('int_plan_states') }}

),

cancellations as (

    select
        *,
        {{ utc_date('occurred_us') }} as changed_date,
    from {{ account_ref('int_plan_states') }}
    where is_paid_before and not is_paid

),

registered as (

    select * from {{ account_ref('stg_user_registered') }}

),

movements as (

    select *
    from {{ account_ref('int_mrr_movements') }}
    where not is_departure

),

episodes as (

    select *
    from {{ account_ref('int_overdue_episodes') }}
    where status <> 'recovered'

),

-- Grain: paid state.
known_ends as (

    select *
    from {{ account_ref('int_known_ends') }}
    where next_event_number is null

),

-- Cancels and the episodes that may have caused them, on one line of time.
cancels_and_episodes as (

    select
        account_id,
        subscription_id,
        occurred_us,
        event_number,
        cast(null as bigint) as episode_event_number,
    from cancellations
    union all
    select
        account_id,
        subscription_id,
        opened_us as occurred_us,
        cast(null as bigint) as event_number,
        event_number as episode_event_number,
    from episodes

),

latest_episodes as (

    select
        account_id,
        subscription_id,
        event_number,
        max(episode_event_number) over (
            partition by account_id, subscription_id
            order by occurred_us
            range between {{ days_us(30) }} preceding and current row
        ) as episode_event_number,
    from cancels_and_episodes

),

cancels as (

    select
        cancellations.subscription_number,
        cancellations.event_number,
        case
            when cancellations.event_type = 'workspace_deleted'
                then 'workspace_deleted'
            when episodes.cause = 'unknown' then 'overdue'
            when episodes.cause is not null then episodes.cause
            when cancellations.changed_date >= known_ends.known_end_date - 1
                then 'expiry'
            else 'early'
        end as cause,
    from cancellations
    inner join latest_episodes
        on
            cancellations.account_id = latest_episodes.account_id
            and cancellations.subscription_id = latest_episodes.subscription_id
            and cancellations.event_number = latest_episodes.event_number
    left join episodes
        on
            latest_episodes.account_id = episodes.account_id
            and latest_episodes.episode_event_number = episodes.event_number
    left join known_ends
        on
            cancellations.subscription_number = known_ends.subscription_number
            and cancellations.state_number - 1 = known_ends.state_number

),

typed as (

    select
        *,
        case
            when not is_paid_before and is_paid and not is_paid_ever_before then 'new'
            when not is_paid_before and is_paid then 'reactivation'
            when is_paid_before and not is_paid then 'cancel'
            when is_paid and (is_unpriced or is_unpriced_before) then 'switch'
            when is_paid and tier > tier_before then 'upgrade'
            when is_paid and tier < tier_before then 'downgrade'
            when is_paid and currency <> currency_before then 'switch'
            when is_paid and mrr > mrr_before then 'upgrade'
            when is_paid and mrr < mrr_before then 'downgrade'
            when is_paid then 'switch'
            when plan_id_before = 'trial' and plan_id = 'free' then 'trial_over'
            when plan_id_before = 'free' and plan_id is null then 'closed'
            else 'start_free'
        end as change_type,
    from states

)

select
    typed.account_id,
    typed.subscription_id,
    typed.attribution,
    events.event_id,
    typed.event_number,
    {{ instant('typed.occurred_us') }} as occurred_at,
    {{ instant('typed.ended_us') }} as ended_at,
    typed.plan_id_before,
    typed.plan_id,
    typed.change_type,
    coalesce(movements.mrr_before, 0) as mrr_before,
    coalesce(movements.mrr_after, 0) as mrr_after,
    coalesce(movements.account_mrr_before, 0) as account_mrr_before,
    coalesce(movements.account_mrr_after, 0) as account_mrr_after,
    coalesce(movements.mrr_movement, 'none') as mrr_movement,
    typed.change_currency,
    typed.auto_renew,
    typed.start_date,
    typed.end_date,
    cancels.cause,
    coalesce(registered.source, 'unknown') as source,
    typed.is_paid,
    typed.is_unpriced,
    typed.mrr,
    typed.mrr_cost,
    typed.currency,
    typed.tier,
    typed.is_day_only,
    ends.auto_renew as period_auto_renew,
    ends.known_end_date as period_end,
from typed
inner join {{ touched_events() }} as events on typed.event_row = events.event_row
left join movements
    on
        typed.account_id = movements.account_id
        and typed.subscription_id = movements.subscription_id
        and typed.event_number = movements.event_number
left join cancels
    on
        typed.subscription_number = cancels.subscription_number
        and typed.event_number = cancels.event_number
left join known_ends as ends
    on
        typed.subscription_number = ends.subscription_number
        and typed.state_number = ends.state_number
left join registered on typed.account_id = registered.account_id
