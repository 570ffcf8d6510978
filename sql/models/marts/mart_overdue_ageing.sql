-- One row per age bucket, cause and currency of the episodes open at as_of.
with

open_episodes as (

    select *
    from {{ ref('fct_overdue_episodes') }}
    where status = 'open'

)

select
    ageing_bucket as bucket,
    cause,
    currency,
    count(*) as episodes,
    {{ money('coalesce(sum(amount), 0)') }} as amount,
from open_episodes
group by ageing_bucket, cause, currency
