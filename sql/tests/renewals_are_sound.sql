-- One row per expected renewal, explained by a known kind of event or not at all. Every
-- account that ever paid pays in retention period 0, and its spans do not overlap.
with

renewals as (

    select
        *,
        count(*) over (partition by account_id, subscription_id, end_date)
            as rows_of_renewal,
    from {{ rows_in_scope('int_renewals') }}

),

spans as (

    select
        *,
        coalesce(
            lag(end_period) over (partition by account_id order by first_period), -1
        ) as previous_end_period,
    from {{ rows_in_scope('int_retention_spans') }}

)

select
    account_id,
    subscription_id,
    end_date,
    outcome as found,
from renewals
where
    rows_of_renewal > 1
    or account_id is null
    or subscription_id is null
    or end_date is null
    or currency is null
    or mrr is null
    or attribution not in ('workspace', 'inferred', 'account')
    or outcome not in ('renewed', 'ended', 'overdue')
union all
select
    account_id,
    null as subscription_id,
    null as end_date,
    'retention span ' || first_period || ' to ' || end_period as found,
from spans
where
    first_period >= end_period
    or first_period < previous_end_period
    or (previous_end_period = -1 and first_period <> 0)
    or end_period > 25
    or mrr < 0
