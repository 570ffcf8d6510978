-- Question: Which sources bring people who pay, and is that getting better?
-- One row per: month of registration and source.
-- How to read: conversion_30_rate is the share of those who registered at least 30 days
-- ago whose first paid plan began within 30 days; NULL while nobody of the row is that
-- old. The registered but not yet matured are in neither number.
select
    cast(date_trunc('month', cohort_date) as date) as month,
    source,
    sum(registered) as registered,
    sum(matured_30) as matured_30,
    sum(paid_30) as paid_30,
    sum(paid_30) / nullif(sum(matured_30), 0) as conversion_30_rate,
from mart_funnel_daily
group by all
order by month desc, registered desc, source asc
