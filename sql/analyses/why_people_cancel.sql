-- Question: Why do paid plans end?
-- One row per: month, currency and cause.
-- How to read: wallet_short is lost to the partner's own empty wallet and can be
-- avoided; non_renewal had auto-renew off; expiry ended with the paid time; early
-- before it; workspace_deleted took the plan along. lost_mrr is of the subscriptions.
with

cancels as (

    select
        cast(date_trunc('month', changed_at) as date) as month,
        currency,
        cause,
        count(*) as cancels,
        -sum(mrr_delta) as lost_mrr,
    from fct_plan_changes
    where change_type = 'cancel'
    group by all

)

select
    month,
    currency,
    cause,
    cancels,
    lost_mrr,
    cancels / sum(cancels) over (partition by month, currency) as cancels_share,
from cancels
order by month desc, currency asc, cancels desc, cause asc
