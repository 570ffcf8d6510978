-- Periods of a subscription are half-open, not empty, one after the other; only the
-- last is open. Fails for each row that is not so.
with

periods as (

    select
        *,
        lead(valid_from) over (
            partition by account_id, subscription_id order by valid_from, event_number
        ) as next_valid_from,
    from {{ rows_in_scope('int_plan_periods') }}

)

select
    account_id,
    subscription_id,
    plan_id,
    valid_from,
    valid_to,
    next_valid_from,
from periods
where
    account_id is null
    or subscription_id is null
    or plan_id is null
    or valid_from is null
    or valid_to <= valid_from
    or (valid_to is null and next_valid_from is not null)
    or next_valid_from < valid_to
    or is_paid <> (currency is not null)
    or (is_unpriced and (mrr <> 0 or not is_paid))
    or mrr < 0
