-- Question: Do more customers move up than down, and what is it worth?
-- One row per: month and currency in which somebody moved.
-- How to read: counts are moves of one subscription between two paid plans, by tier and
-- then by monthly price; the amounts are what they changed MRR by. Moves that arrive
-- from another currency are counted, and told apart as across_currencies, but are in no
-- amount: one price cannot be taken from the other. Cancels are not here: a downgrade
-- is still paid.
with

moves as (

    select
        cast(date_trunc('month', changed_at) as date) as month,
        currency,
        change_type,
        mrr_before = 0 as is_across_currencies,
        case when mrr_before > 0 then mrr_delta else 0 end as own_delta,
    from fct_plan_changes
    where change_type in ('upgrade', 'downgrade')

)

select
    month,
    currency,
    count(case when change_type = 'upgrade' then 1 end) as upgrades,
    count(case when change_type = 'downgrade' then 1 end) as downgrades,
    count(case when is_across_currencies then 1 end) as across_currencies,
    sum(case when change_type = 'upgrade' then own_delta else 0 end) as upgrade_mrr,
    sum(case when change_type = 'downgrade' then own_delta else 0 end)
        as downgrade_mrr,
    sum(own_delta) as net_mrr,
from moves
group by month, currency
order by month desc, currency asc
