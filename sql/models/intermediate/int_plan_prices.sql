{{ config(materialized='table', tags=['catalogue']) }}
-- One row per plan and span [priced_from_us, priced_to_us) of one price, in cents a
-- month. A plan's first row also covers all earlier time; after its last row, or in a
-- hole, a plan has no price.
with

catalogue as (

    select
        *,
        lower(trim(plan_id)) as plan_key,
        case interval when 'year' then 12 else 1 end as interval_months,
        {{ midnight_us('valid_from') }} as from_us,
        {{ midnight_us('valid_to') }} as to_us,
    from {{ ref('plan_prices') }}

),

ordered as (

    select
        *,
        lag(plan_key) over (
            partition by plan_key order by from_us nulls first
        ) as plan_key_before,
        lead(from_us) over (
            partition by plan_key order by from_us nulls first
        ) as next_from_us,
    from catalogue

)

select
    plan_key as plan_id,
    tier,
    currency,
    interval_months,
    {{ from_cents(monthly_cents('price', 'interval_months')) }} as mrr,
    {{ from_cents(monthly_cents('cost', 'interval_months')) }} as mrr_cost,
    case
        when plan_key_before is null then -9000000000000000000
        else from_us
    end as priced_from_us,
    coalesce(least(to_us, next_from_us), 9000000000000000000) as priced_to_us,
from ordered
