-- The aggregates hold everybody once: open episodes by bucket, registrations by day.
with

open_episodes as (

    select
        count(*) as episodes,
        coalesce(sum(amount), 0) as amount,
    from {{ ref('int_overdue_episodes') }}
    where status = 'open'

),

ageing as (

    select
        coalesce(sum(episodes), 0) as episodes,
        coalesce(sum(amount), 0) as amount,
    from {{ ref('mart_overdue_ageing') }}

),

registrations as (

    select count(*) as registered from {{ ref('fct_registration_funnel') }}

),

cohorts as (

    select
        coalesce(sum(registered), 0) as registered,
        coalesce(
            sum(
                case
                    when
                        workspace > registered
                        or paid > workspace
                        or renewed > paid
                        {%- for window_days in [14, 30, 90] %}
                            or matured_{{ window_days }} > registered
                            or paid_{{ window_days }} > matured_{{ window_days }}
                            or paid_{{ window_days }} > paid
                        {%- endfor %}
                        then 1
                    else 0
                end
            ),
            0
        ) as impossible_rows,
    from {{ ref('mart_funnel_daily') }}

)

select
    open_episodes.episodes as open_episodes,
    ageing.episodes as aged_episodes,
    open_episodes.amount as open_amount,
    ageing.amount as aged_amount,
    registrations.registered,
    cohorts.registered as registered_in_cohorts,
    cohorts.impossible_rows,
from open_episodes
cross join ageing
cross join registrations
cross join cohorts
where
    open_episodes.episodes <> ageing.episodes
    or open_episodes.amount <> ageing.amount
    or registrations.registered <> cohorts.registered
    or cohorts.impossible_rows > 0
