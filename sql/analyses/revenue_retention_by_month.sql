-- Question: What is left at a month's end of the revenue and customers of its start?
-- One row per: month and currency that somebody paid in when the month began.
-- How to read: grr_rate leaves out what the same accounts added (never above 1),
-- nrr_ratio counts it in (above 1 is growth without new customers). logo_churn_rate
-- counts accounts. The last month is not over and will get worse.
select
    month,
    currency,
    mrr_start,
    retained_mrr,
    expanded_mrr,
    retained_mrr / nullif(mrr_start, 0) as grr_rate,
    expanded_mrr / nullif(mrr_start, 0) as nrr_ratio,
    paying_accounts_start,
    churned_accounts,
    churned_accounts / paying_accounts_start as logo_churn_rate,
    mrr_end / nullif(paying_accounts_end, 0) as arpa,
from mart_mrr_monthly
where paying_accounts_start > 0
order by month desc, currency asc
