{{ config(tags=['events_only']) }}
-- One row per day, registration source and kind of plan change: fct_plan_changes
-- counted by all that it is drawn by.
select
    {{ utc_date(microseconds('changed_at')) }} as day,
    source,
    change_type,
    from_plan_id,
    to_plan_id,
    cause,
    currency,
    mrr_movement,
    count(*) as changes,
    {{ money('sum(account_mrr_after - account_mrr_before)') }} as account_mrr_delta,
from {{ ref('fct_plan_changes') }}
group by
    {{ utc_date(microseconds('changed_at')) }},
    source,
    change_type,
    from_plan_id,
    to_plan_id,
    cause,
    currency,
    mrr_movement
