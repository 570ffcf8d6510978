-- One row per account seen in any of the six event types: dim_accounts but for what the
-- clock changes.
with

registered as (

    select * from {{ account_ref('stg_user_registered') }}

),

periods as (

    select * from {{ account_ref('int_paid_periods') }}

),

workspaces as (

    select * from {{ account_ref('int_workspaces') }}

),

episodes as (

    select * from {{ account_ref('int_overdue_episodes') }}

),

-- Grain of each from here on: account.
accounts as (

    select
        account_id,
        max(occurred_us) as last_event_us,
    from {{ account_ref('stg_account_events') }}
    group by account_id

),

first_paid as (

    select
        account_id,
        min(from_us) as first_paid_us,
    from periods
    group by account_id

),

-- Of the paid subscriptions the one with most MRR, then the latest changed.
paying as (

    select
        *,
        sum(mrr) over (partition by account_id, currency) as account_mrr,
        sum(mrr_cost) over (partition by account_id, currency) as account_mrr_cost,
    from periods
    where to_us is null
    qualify row_number() over (
        partition by account_id
        order by mrr desc, event_number desc, subscription_id asc
    ) = 1

),

workspace_counts as (

    select
        account_id,
        count(*) as workspaces_total,
        count(*) - count(deletion_event_number) as workspaces_live,
    from workspaces
    group by account_id

),

open_episodes as (

    select
        account_id,
        count(*) as open_overdue,
    from episodes
    where status = 'open'
    group by account_id

)

select
    accounts.account_id,
    registered.occurred_at as registered_at,
    registered.occurred_us as registered_us,
    coalesce(registered.source, 'unknown') as source,
    {{ instant('first_paid.first_paid_us') }} as first_paid_at,
    paying.plan_id as current_plan_id,
    paying.auto_renew,
    paying.period_end,
    paying.account_id is not null as is_paying,
    cast(coalesce(paying.account_mrr, 0) as decimal(18, 2)) as mrr,
    cast(coalesce(paying.account_mrr_cost, 0) as decimal(18, 2)) as mrr_cost,
    paying.currency,
    coalesce(workspace_counts.workspaces_live, 0) as workspaces_live,
    coalesce(workspace_counts.workspaces_total, 0) as workspaces_total,
    coalesce(open_episodes.open_overdue, 0) as open_overdue,
    {{ instant('accounts.last_event_us') }} as last_event_at,
from accounts
left join registered on accounts.account_id = registered.account_id
left join first_paid on accounts.account_id = first_paid.account_id
left join paying on accounts.account_id = paying.account_id
left join workspace_counts on accounts.account_id = workspace_counts.account_id
left join open_episodes on accounts.account_id = open_episodes.account_id
