{{ config(materialized='view', schema='main', tags=['events_only']) }}
-- One row per subscription and stretch of one plan, half-open: [valid_from, valid_to).
-- A state that another of the same instant replaced lasted no time and has no row.
select
    account_id,
    subscription_id,
    attribution,
    plan_id,
    occurred_at as valid_from,
    ended_at as valid_to,
    is_paid,
    is_unpriced,
    mrr,
    mrr_cost,
    currency,
    tier,
    period_auto_renew as auto_renew,
    period_end,
    is_day_only,
    event_number,
from {{ ref('int_plan_changes') }}
where plan_id is not null and (ended_at is null or ended_at > occurred_at)
