{{ config(tags=['events_only']) }}
-- One row per day, currency and registration source on which monthly recurring revenue
-- or the number of paying accounts changed.
select
    {{ utc_date('occurred_us') }} as day,
    currency,
    source,
    {{ money('sum(account_mrr_after - account_mrr_before)') }} as mrr_delta,
    cast(sum(paying_delta) as bigint) as paying_delta,
from {{ ref('int_mrr_movements') }}
group by {{ utc_date('occurred_us') }}, currency, source
