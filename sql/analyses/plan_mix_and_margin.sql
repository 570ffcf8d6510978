-- Question: Which plans earn the money, and what is left after paying the sender?
-- One row per: currency and plan somebody pays for now.
-- How to read: margin is MRR less the catalogue's monthly cost; a plan missing in the
-- catalogue is unpriced and earns 0 here, add it to plan_prices.csv.
select
    currency,
    plan_id,
    count(distinct account_id) as accounts,
    count(*) as subscriptions,
    sum(mrr) as mrr,
    sum(mrr) - sum(mrr_cost) as margin,
    sum(mrr) / nullif(sum(sum(mrr)) over (partition by currency), 0) as mrr_share,
    bool_or(is_unpriced) as is_unpriced,
from int_plan_periods
where is_paid and valid_to is null
group by currency, plan_id
order by currency asc, mrr desc, plan_id asc
