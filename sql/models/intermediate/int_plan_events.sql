{{ config(database='delta', schema='main') }}
-- One row per event that states, proves or ends the plan of a subscription, with the
-- plan it leads to (NULL = none) and the one before it, restore gaps not yet healed,
-- and all that later models ask of the event. Names are left to stg_subscriptions.
-- Left out: renewals of a plan nobody knows, and account-level renewals that would open
-- a paid state while a workspace of the account is paid.
with

plan_changed as (

    select * from {{ account_ref('stg_plan_changed') }}

),

plan_renewed as (

    select * from {{ account_ref('stg_plan_renewed') }}

),

closures as (

    select * from {{ account_ref('int_closures') }}

),

barred_renewals as (

    select * from {{ account_ref('int_barred_renewals') }}

),

prices as (

    select * from {{ ref('int_plan_prices') }}

),

renewed as (

    select plan_renewed.*
    from plan_renewed
    left join barred_renewals on plan_renewed.event_row = barred_renewals.event_row
    where barred_renewals.event_row is null

),

-- Grain: subscription of which a renewal names no plan.
guessed_subscriptions as (

    select distinct subscription_number
    from renewed
    where plan_id is null

),

-- What was paid in such a subscription, event by event.
guessed_turns as (

    select
        plan_changed.subscription_number,
        plan_changed.event_number,
        plan_changed.occurred_us,
        plan_changed.plan_id,
    from plan_changed
    inner join guessed_subscriptions
        on plan_changed.subscription_number = guessed_subscriptions.subscription_number
    union all
    select
        renewed.subscription_number,
        renewed.event_number,
        renewed.occurred_us,
        renewed.plan_id,
    from renewed
    inner join guessed_subscriptions
        on renewed.subscription_number = guessed_subscriptions.subscription_number

),

guesses as (

    select
        turns.subscription_number,
        turns.event_number,
        last_value(
            case
                when {{ is_paid_plan('turns.plan_id', 'prices.mrr') }}
                    then turns.plan_id
            end ignore nulls
        ) over (
            partition by turns.subscription_number
            order by turns.event_number
            rows between unbounded preceding and 1 preceding
        ) as plan_id,
    from guessed_turns as turns
    left join prices
        on
            turns.plan_id = prices.plan_id
            and turns.occurred_us >= prices.priced_from_us
            and turns.occurred_us < prices.priced_to_us

),

plan_events as (

    select
        subscription_number,
        event_number,
        event_row,
        event_type,
        occurred_us,
        event_time_source = 'date' as is_day_only,
        workspace_id is not null as is_workspace_stated,
        plan_id,
        auto_renew,
        start_date,
        end_date,
        cast(null as date) as renewal_date,
    from plan_changed
    union all
    select
        renewed.subscription_number,
        renewed.event_number,
        renewed.event_row,
        renewed.event_type,
        renewed.occurred_us,
        renewed.event_time_source = 'date' as is_day_only,
        renewed.workspace_id is not null as is_workspace_stated,
        coalesce(renewed.plan_id, guesses.plan_id) as plan_id,
        renewed.auto_renew,
        cast(null as date) as start_date,
        renewed.end_date,
        renewed.renewal_date,
    from renewed
    left join guesses
        on
            renewed.subscription_number = guesses.subscription_number
            and renewed.event_number = guesses.event_number
    where coalesce(renewed.plan_id, guesses.plan_id) is not null
    union all
    select
        subscription_number,
        event_number,
        event_row,
        'workspace_deleted' as event_type,
        occurred_us,
        false as is_day_only,
        not is_account_level as is_workspace_stated,
        cast(null as varchar) as plan_id,
        cast(null as boolean) as auto_renew,
        cast(null as date) as start_date,
        cast(null as date) as end_date,
        cast(null as date) as renewal_date,
    from closures

)

select
    *,
    lag(plan_id) over (
        partition by subscription_number order by event_number
    ) as plan_id_before,
from plan_events
