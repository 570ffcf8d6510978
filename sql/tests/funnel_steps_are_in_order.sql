-- One row per account; a step comes after the ones it implies, and implies them.
with

funnel as (

    select
        *,
        count(*) over (partition by account_id) as rows_of_account,
    from {{ rows_in_scope('fct_registration_funnel') }}

)

select
    account_id,
    registered_at,
    workspace_at,
    paid_at,
    renewed_at,
from funnel
where
    rows_of_account > 1
    or account_id is null
    or registered_at is null
    or source is null
    or workspace_at < registered_at
    or paid_at < workspace_at
    or renewed_at < paid_at
    or (paid_at is not null and workspace_at is null)
    or (renewed_at is not null and paid_at is null)
    or (paid_at is null) <> (seconds_to_paid is null)
    or seconds_to_paid < 0
