-- One row per change of state and currency that it touches. A change from one currency
-- to another touches two: it leaves the old one (is_departure) and arrives in the new
-- one.
with

states as (

    select * from {{ account_ref('int_plan_states') }}

),

registered as (

    select * from {{ account_ref('stg_user_registered') }}

),

arrivals as (

    select
        account_id,
        subscription_id,
        attribution,
        event_number,
        occurred_us,
        false as is_departure,
        coalesce(currency, currency_before) as currency,
        case
            when not is_paid or currency = currency_before then mrr_before
            else 0
        end as mrr_before,
        mrr as mrr_after,
        mrr_cost
        - case
            when not is_paid or currency = currency_before then mrr_cost_before
            else 0
        end as mrr_cost_delta,
        case when is_paid then 1 else 0 end
        - case
            when is_paid_before and (not is_paid or currency = currency_before) then 1
            else 0
        end as paid_delta,
    from states
    where is_paid or is_paid_before

),

departures as (

    select
        account_id,
        subscription_id,
        attribution,
        event_number,
        occurred_us,
        true as is_departure,
        currency_before as currency,
        mrr_before,
        0 as mrr_after,
        -mrr_cost_before as mrr_cost_delta,
        -1 as paid_delta,
    from states
    where is_paid and is_paid_before and currency <> currency_before

),

touched_currencies as (

    select * from arrivals
    union all
    select * from departures

),

-- One deletion may end a workspace's subscription and then the account-level one.
totals as (

    select
        *,
        sum(mrr_after - mrr_before) over account_order as account_mrr_after,
        sum(paid_delta) over account_order as paid_after,
        row_number() over account_order as movement_number,
        sum(paid_delta) over any_currency as paid_anywhere_after,
    from touched_currencies
    window
        account_order as (
            partition by account_id, currency
            order by
                event_number,
                case when attribution = 'account' then 1 else 0 end,
                subscription_id
            rows between unbounded preceding and current row
        ),
        any_currency as (
            partition by account_id
            order by event_number, subscription_id, is_departure
            rows between unbounded preceding and current row
        )

),

named as (

    select
        *,
        account_mrr_after - (mrr_after - mrr_before) as account_mrr_before,
        case
            when paid_after > 0 and paid_after = paid_delta
                then case when movement_number = 1 then 'new' else 'reactivation' end
            when paid_after = 0 and paid_delta < 0 then 'churn'
            when mrr_after > mrr_before then 'expansion'
            when mrr_after < mrr_before then 'contraction'
            else 'none'
        end as mrr_movement,
        {{ month_number(utc_date('occurred_us')) }} as month_number,
    from totals

),

-- What the account had in the currency when the month began, beside each of the month's
-- movements; the last of them tells what it had in the end.
in_months as (

    select
        *,
        first_value(account_mrr_before) over month_order as month_mrr_before,
        first_value(paid_after - paid_delta) over month_order as month_paid_before,
        lead(movement_number) over month_order is null as is_last_in_month,
    from named
    window month_order as (
        partition by account_id, currency, month_number order by movement_number
    )

)

select
    in_months.account_id,
    in_months.subscription_id,
    in_months.event_number,
    in_months.is_departure,
    in_months.currency,
    coalesce(registered.source, 'unknown') as source,
    {{ instant('in_months.occurred_us') }} as occurred_at,
    in_months.occurred_us,
    cast(in_months.mrr_before as decimal(18, 2)) as mrr_before,
    cast(in_months.mrr_after as decimal(18, 2)) as mrr_after,
    cast(in_months.account_mrr_before as decimal(18, 2)) as account_mrr_before,
    cast(in_months.account_mrr_after as decimal(18, 2)) as account_mrr_after,
    cast(in_months.mrr_cost_delta as decimal(18, 2)) as mrr_cost_delta,
    in_months.movement_number,
    in_months.paid_after - in_months.paid_delta as paid_before,
    in_months.paid_after,
    case when in_months.paid_anywhere_after > 0 then 1 else 0 end
    - case when in_months.paid_anywhere_after > in_months.paid_delta then 1 else 0 end
        as paying_delta,
    in_months.mrr_movement,
    in_months.month_number,
    cast(in_months.month_mrr_before as decimal(18, 2)) as month_mrr_before,
    in_months.month_paid_before,
    in_months.is_last_in_month,
from in_months
left join registered on in_months.account_id = registered.account_id
