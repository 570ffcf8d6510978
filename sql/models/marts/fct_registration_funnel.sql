{{ config(materialized='account_table') }}
-- One row per account with a user_registered event and when it took each step. A step
-- seen implies the earlier ones: webhooks get lost.
with

registered as (

    select
        *,
        occurred_us - 5 * 60 * 1000000 as earliest_workspace_us,
    from {{ account_ref('stg_user_registered') }}

),

workspace_created as (

    select * from {{ account_ref('stg_workspace_created') }}

),

periods as (

    select * from {{ account_ref('int_paid_periods') }}

),

plan_renewed as (

    select * from {{ account_ref('stg_plan_renewed') }}

),

plan_events as (

    select * from {{ account_ref('int_plan_events') }}

),

first_workspaces as (

    select
        registered.account_id,
        min(
            greatest(workspace_created.occurred_at, registered.occurred_at)
        ) as workspace_at,
    from registered
    inner join workspace_created
        on
            registered.account_id = workspace_created.account_id
            and registered.earliest_workspace_us <= workspace_created.occurred_us
    group by registered.account_id

),

-- A period known by its day alone may have begun after the registration of that day.
first_periods as (

    select
        registered.account_id,
        {{ instant('greatest(periods.from_us, registered.occurred_us)') }} as paid_at,
        periods.plan_id,
    from registered
    inner join periods on registered.account_id = periods.account_id
    where
        periods.to_us is null
        or periods.to_us > registered.occurred_us
        or (
            periods.is_day_only
            and {{ utc_date('periods.from_us') }} = registered.occurred_date
        )
    qualify row_number() over (
        partition by registered.account_id
        order by
            greatest(periods.from_us, registered.occurred_us),
            periods.event_number
    ) = 1

),

first_renewals as (

    select
        registered.account_id,
        plan_renewed.event_row,
        plan_renewed.occurred_at as renewed_at,
        plan_renewed.plan_id,
    from registered
    inner join plan_renewed
        on
            registered.account_id = plan_renewed.account_id
            and registered.occurred_us <= plan_renewed.occurred_us
    qualify row_number() over (
        partition by registered.account_id order by plan_renewed.event_number
    ) = 1

),

-- Of what plan, where the renewal does not say.
renewed_plans as (

    select
        first_renewals.account_id,
        plan_events.plan_id,
    from first_renewals
    inner join plan_events on first_renewals.event_row = plan_events.event_row
    where first_renewals.plan_id is null

),

-- A renewal proves a payment that no plan event told of.
steps as (

    select
        registered.account_id,
        registered.occurred_at as registered_at,
        registered.occurred_date as cohort_date,
        coalesce(registered.source, 'unknown') as source,
        first_workspaces.workspace_at as own_workspace_at,
        least(first_periods.paid_at, first_renewals.renewed_at) as paid_at,
        case
            when
                first_periods.paid_at is null
                or first_renewals.renewed_at < first_periods.paid_at
                then coalesce(
                    first_renewals.plan_id,
                    renewed_plans.plan_id,
                    first_periods.plan_id
                )
            else first_periods.plan_id
        end as first_paid_plan_id,
        first_renewals.renewed_at,
    from registered
    left join first_workspaces on registered.account_id = first_workspaces.account_id
    left join first_periods on registered.account_id = first_periods.account_id
    left join first_renewals on registered.account_id = first_renewals.account_id
    left join renewed_plans on registered.account_id = renewed_plans.account_id

)

select
    account_id,
    registered_at,
    source,
    least(own_workspace_at, paid_at) as workspace_at,
    paid_at,
    first_paid_plan_id,
    renewed_at,
    {{ divide_whole(
        microseconds('paid_at') ~ ' - ' ~ microseconds('registered_at'), 1000000
    ) }} as seconds_to_paid,
    cohort_date,
from steps
