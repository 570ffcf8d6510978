-- One row per month and currency in which a renewal was expected. The window of a
-- renewal closes with the fourth day after the period's end.
with

due as (

    select
        *,
        end_date + 4 < {{ as_of_date() }} as is_window_over,
    from {{ ref('int_renewals') }}
    where end_date <= {{ as_of_date() }}

)

select
    {{ month_start('month_number') }} as month,
    currency,
    count(*) as expected,
    count(case when outcome = 'renewed' then 1 end) as renewed,
    count(case when outcome = 'ended' then 1 end) as ended,
    count(case when outcome = 'overdue' then 1 end) as overdue,
    count(case when outcome is null and is_window_over then 1 end) as missing,
    count(case when outcome is null and not is_window_over then 1 end) as pending,
from due
group by month_number, currency
