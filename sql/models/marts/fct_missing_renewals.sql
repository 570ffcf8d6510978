{{ config(materialized='view') }}
-- One row per expected renewal whose window is over and that nothing explains.
select
    account_id,
    subscription_id,
    attribution,
    plan_id,
    end_date,
    mrr,
    currency,
from {{ ref('int_renewals') }}
where outcome is null and end_date + 4 < {{ as_of_date() }}
