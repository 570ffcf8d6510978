{{ config(database='delta', schema='main') }}
-- One row per event that can close overdue episodes: what recovered or lost a payment,
-- the workspace it names, and whether it speaks for the account as a whole.
with

plan_renewed as (

    select * from {{ account_ref('stg_plan_renewed') }}

),

plan_changed as (

    select * from {{ account_ref('stg_plan_changed') }}

),

plan_events as (

    select *
    from {{ account_ref('int_plan_events') }}
    where event_type = 'plan_changed'

),

prices as (

    select * from {{ ref('int_plan_prices') }}

),

known_ends as (

    select * from {{ account_ref('int_known_ends') }}

),

states as (

    select * from {{ account_ref('int_plan_states') }}

),

workspaces as (

    select *
    from {{ account_ref('int_workspaces') }}
    where deletion_event_number is not null

),

renewals as (

    select
        account_id,
        event_number,
        occurred_us,
        workspace_id,
        'recovered' as outcome,
        'any' as reach,
    from plan_renewed

),

-- A change to a paid plan that changes the plan (healed later or not) or pays for
-- longer.
payments as (

    select
        plan_changed.account_id,
        plan_changed.event_number,
        plan_changed.occurred_us,
        plan_changed.workspace_id,
        'recovered' as outcome,
        'any' as reach,
    from plan_events
    inner join plan_changed on plan_events.event_row = plan_changed.event_row
    left join prices
        on
            plan_events.plan_id = prices.plan_id
            and plan_events.occurred_us >= prices.priced_from_us
            and plan_events.occurred_us < prices.priced_to_us
    left join known_ends as ends_before
        on
            plan_events.subscription_number = ends_before.subscription_number
            and plan_events.event_number = ends_before.next_event_number
    where
        {{ is_paid_plan('plan_events.plan_id', 'prices.mrr') }}
        and (
            plan_events.plan_id is distinct from plan_events.plan_id_before
            or coalesce(plan_events.end_date > ends_before.known_end_date, false)
        )

),

ends_of_payment as (

    select
        states.account_id,
        states.event_number,
        states.occurred_us,
        events.workspace_id,
        'lost' as outcome,
        'any' as reach,
    from states
    inner join {{ touched_events() }} as events
        on states.event_row = events.event_row
    where states.is_paid_before and not states.is_paid

),

deletions as (

    select
        account_id,
        deletion_event_number as event_number,
        deleted_us as occurred_us,
        workspace_id,
        'lost' as outcome,
        case when is_last_deletion then 'last' else 'workspace' end as reach,
    from workspaces

),

closings as (

    select * from renewals
    union all
    select * from payments
    union all
    select * from ends_of_payment
    union all
    select * from deletions

)

select
    account_id,
    event_number,
    {{ instant('occurred_us') }} as occurred_at,
    occurred_us,
    workspace_id,
    -- a renewal to a free plan is still a renewal: 'recovered' before 'lost'
    max(outcome) as outcome,
    -- 'any' closes what names no workspace too; 'last' ends the account's last
    -- workspace
    min(reach) as reach,
from closings
group by account_id, event_number, occurred_us, workspace_id
