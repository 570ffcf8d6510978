-- Question: What took monthly recurring revenue from one month's end to the next?
-- One row per: month and currency.
-- How to read: mrr_start + new + reactivation + expansion + contraction + churn =
-- mrr_end, to the cent. contraction and churn are negative. The last month is not over.
select
    month,
    currency,
    mrr_start,
    new,
    reactivation,
    expansion,
    contraction,
    churn,
    mrr_end,
    mrr_end - mrr_start as net_change,
from mart_mrr_monthly
order by month desc, currency asc
