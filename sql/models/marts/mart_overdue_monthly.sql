-- One row per month in which episodes opened, cause and currency. What became of them
-- is counted within 30 days, and only of those that have had 30 days.
with

episodes as (

    select
        month_number,
        cause,
        currency,
        status,
        coalesce(amount, 0) as amount,
        opened_us <= {{ microseconds(as_of()) }} - {{ days_us(30) }} as is_mature,
        closed_us < opened_us + {{ days_us(30) }} as is_closed_in_time,
    from {{ ref('int_overdue_episodes') }}

),

months as (

    select
        month_number,
        cause,
        currency,
        count(*) as opened,
        sum(amount) as amount,
        count(case when is_mature then 1 end) as matured_30d,
        count(
            case
                when is_mature and is_closed_in_time and status = 'recovered' then 1
            end
        ) as recovered_30d,
        sum(
            case
                when is_mature and is_closed_in_time and status = 'recovered'
                    then amount
                else 0
            end
        ) as recovered_amount_30d,
        count(
            case when is_mature and is_closed_in_time and status = 'lost' then 1 end
        ) as lost_30d,
    from episodes
    group by month_number, cause, currency

)

select
    {{ month_start('month_number') }} as month,
    cause,
    currency,
    opened,
    {{ money('amount') }} as amount,
    matured_30d,
    recovered_30d,
    {{ money('recovered_amount_30d') }} as recovered_amount_30d,
    lost_30d,
from months
