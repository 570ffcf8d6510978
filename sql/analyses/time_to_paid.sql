-- Question: How long does it take from registering to the first paid plan?
-- One row per: month of registration in which somebody has paid.
-- How to read: of those who have ever paid, half did so within median_days, nine of ten
-- within p90_days. Recent months read low: who will pay late has not paid yet.
select
    cast(date_trunc('month', cohort_date) as date) as month,
    count(paid_at) as paid,
    quantile_cont(seconds_to_paid, 0.5) / 86400 as median_days,
    quantile_cont(seconds_to_paid, 0.9) / 86400 as p90_days,
    count(case when seconds_to_paid < 86400 then 1 end) / count(paid_at)
        as within_1_day_rate,
    count(case when seconds_to_paid < 14 * 86400 then 1 end) / count(paid_at)
        as within_14_days_rate,
from fct_registration_funnel
where paid_at is not null
group by all
order by month desc
