-- Question: Do more customers move up than down, and what is it worth?
-- One row per: month and currency in which somebody moved.
-- How to read: counts are moves of one subscription between two paid plans, by tier and
-- then by monthly price; the amounts are what they changed MRR by. Cancels are not
-- here: a downgrade is still paid.
select
    cast(date_trunc('month', changed_at) as date) as month,
    currency,
    count(case when change_type = 'upgrade' then 1 end) as upgrades,
    count(case when change_type = 'downgrade' then 1 end) as downgrades,
    sum(case when change_type = 'upgrade' then mrr_delta else 0 end) as upgrade_mrr,
    sum(case when change_type = 'downgrade' then mrr_delta else 0 end)
        as downgrade_mrr,
    sum(mrr_delta) as net_mrr,
from fct_plan_changes
where change_type in ('upgrade', 'downgrade')
group by all
order by month desc, currency asc
