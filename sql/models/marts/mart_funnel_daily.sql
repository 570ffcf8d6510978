-- One row per day of registration and source. Paid within a window counts only those
-- who had the whole window; the immature are in neither numerator nor denominator.
with

funnel as (

    select
        *,
        {{ microseconds('paid_at') }} - {{ microseconds('registered_at') }}
            as us_to_paid,
        {{ microseconds(as_of()) }} - {{ microseconds('registered_at') }} as age_us,
    from {{ ref('fct_registration_funnel') }}

)

select
    cohort_date,
    source,
    count(*) as registered,
    count(workspace_at) as workspace,
    count(paid_at) as paid,
    count(renewed_at) as renewed,
    {%- for window_days in [14, 30, 90] %}
        count(case when age_us >= {{ days_us(window_days) }} then 1 end)
            as matured_{{ window_days }},
        count(
            case
                when
                    age_us >= {{ days_us(window_days) }}
                    and us_to_paid < {{ days_us(window_days) }}
                    then 1
            end
        ) as paid_{{ window_days }},
    {%- endfor %}
from funnel
group by cohort_date, source
