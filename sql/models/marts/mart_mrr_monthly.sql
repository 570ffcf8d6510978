-- One row per month and currency, from the currency's first movement to the month of
-- as_of, whether or not anything moved.
with

movements as (

    select
        *,
        account_mrr_after - account_mrr_before as mrr_delta,
        is_last_in_month and month_paid_before > 0 as is_end_of_payer,
    from {{ ref('int_mrr_movements') }}

),

-- Grain: month and currency in which something moved. The last row of an account's
-- month stands for the account; who has none stayed as it was.
moved as (

    select
        currency,
        month_number,
        {%- for movement in
            ['new', 'expansion', 'contraction', 'churn', 'reactivation'] %}
            sum(case when mrr_movement = '{{ movement }}' then mrr_delta else 0 end)
                as {{ movement }}_delta,
        {%- endfor %}
        sum(mrr_cost_delta) as cost_delta,
        count(case when is_last_in_month and paid_after > 0 then 1 end)
        - count(case when is_end_of_payer then 1 end) as paying_delta,
        count(case when is_end_of_payer and paid_after = 0 then 1 end)
            as churned_accounts,
        sum(
            case
                when is_end_of_payer
                    then greatest(month_mrr_before - account_mrr_after, 0)
                else 0
            end
        ) as mrr_lost,
        sum(
            case
                when is_end_of_payer then account_mrr_after - month_mrr_before
                else 0
            end
        ) as mrr_changed,
    from movements
    group by currency, month_number

),

spans as (

    select
        currency,
        min(month_number) as first_month_number,
    from moved
    group by currency

),

months as (

    select
        currency,
        {{ numbers_between(
            'first_month_number', month_number(as_of_date())
        ) }} as month_number,
    from spans

),

dense as (

    select
        months.currency,
        months.month_number,
        {%- for column in [
            'new_delta', 'expansion_delta', 'contraction_delta', 'churn_delta',
            'reactivation_delta', 'cost_delta', 'paying_delta', 'churned_accounts',
            'mrr_lost', 'mrr_changed',
        ] %}
            coalesce(moved.{{ column }}, 0) as {{ column }},
        {%- endfor %}
    from months
    left join moved
        on
            months.currency = moved.currency
            and months.month_number = moved.month_number

),

running as (

    select
        *,
        new_delta + expansion_delta + contraction_delta + churn_delta
        + reactivation_delta as mrr_delta,
        sum(
            new_delta + expansion_delta + contraction_delta + churn_delta
            + reactivation_delta
        ) over to_date as mrr_end,
        sum(cost_delta) over to_date as mrr_cost_end,
        sum(paying_delta) over to_date as paying_accounts_end,
    from dense
    window to_date as (
        partition by currency
        order by month_number
        rows between unbounded preceding and current row
    )

)

select
    {{ month_start('month_number') }} as month,
    currency,
    cast(mrr_end - mrr_delta as decimal(18, 2)) as mrr_start,
    {%- for movement in
        ['new', 'expansion', 'contraction', 'churn', 'reactivation'] %}
        cast({{ movement }}_delta as decimal(18, 2)) as {{ movement }},
    {%- endfor %}
    cast(mrr_end as decimal(18, 2)) as mrr_end,
    cast(mrr_cost_end as decimal(18, 2)) as mrr_cost_end,
    cast(paying_accounts_end - paying_delta as bigint) as paying_accounts_start,
    cast(paying_accounts_end as bigint) as paying_accounts_end,
    churned_accounts,
    cast(mrr_end - mrr_delta - mrr_lost as decimal(18, 2)) as retained_mrr,
    cast(mrr_end - mrr_delta + mrr_changed as decimal(18, 2)) as expanded_mrr,
from running
