-- One row per account; an account that pays has a plan and a currency, another has
-- neither.
with

accounts as (

    select
        *,
        count(*) over (partition by account_id) as rows_of_account,
    from {{ rows_in_scope('int_accounts') }}

)

select
    account_id,
    is_paying,
    current_plan_id,
    currency,
    mrr,
from accounts
where
    rows_of_account > 1
    or account_id is null
    or source is null
    or last_event_at is null
    or is_paying <> (current_plan_id is not null)
    or is_paying <> (currency is not null)
    or (not is_paying and mrr <> 0)
    or (is_paying and first_paid_at is null)
    or workspaces_live > workspaces_total
