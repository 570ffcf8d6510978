{{ config(severity='warn') }}
-- A paid plan without a price counts nothing: add it to plan_prices.csv. One row per
-- plan.
select
    plan_id,
    count(*) as periods,
    min(valid_from) as first_seen_at,
from {{ ref('int_plan_periods') }}
where is_unpriced
group by plan_id
