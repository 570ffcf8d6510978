-- Question: Of everybody who ever started paying, how many still pay after n months?
-- One row per: currency of the first plan and months since the first payment.
-- How to read: sums over all cohorts old enough for the month, so later months rest on
-- fewer accounts (matured). retained_rate counts accounts; revenue_ratio counts MRR and
-- may rise above 1 where those who stay pay more.
select
    currency,
    period_number,
    sum(matured) as matured,
    sum(retained) as retained,
    sum(retained) / sum(matured) as retained_rate,
    sum(mrr_retained) / nullif(sum(mrr_start), 0) as revenue_ratio,
from mart_retention_monthly
group by currency, period_number
having sum(matured) > 0
order by currency, period_number
