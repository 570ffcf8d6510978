-- Question: At which step do people stop?
-- One row per: source and the furthest step reached until now.
-- How to read: accounts is who came to this step and no further, stopped_rate their
-- share of the source's registrations. A later step implies the earlier ones. Steps:
-- 1 registered, 2 workspace, 3 paid, 4 renewed.
with

furthest as (

    select
        source,
        case
            when renewed_at is not null then '4 renewed'
            when paid_at is not null then '3 paid'
            when workspace_at is not null then '2 workspace'
            else '1 registered'
        end as furthest_step,
    from fct_registration_funnel

)

select
    source,
    furthest_step,
    count(*) as accounts,
    count(*) / sum(count(*)) over (partition by source) as stopped_rate,
from furthest
group by source, furthest_step
order by source, furthest_step
