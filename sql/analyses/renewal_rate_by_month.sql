-- Question: How many of the renewals that were due came?
-- One row per: month in which paid periods ended and currency.
-- How to read: renewed_rate is over what is decided (expected less pending). ended left
-- for good, overdue is being dunned, missing was never heard of again.
select
    month,
    currency,
    expected,
    renewed,
    ended,
    overdue,
    missing,
    pending,
    renewed / nullif(expected - pending, 0) as renewed_rate,
from mart_renewals_monthly
order by month desc, currency asc
