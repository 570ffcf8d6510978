-- Question: Which renewals should have come and did not?
-- One row per: subscription and day on which its paid period ended without a word.
-- How to read: nothing renewed, changed, ended or dunned the plan from three days
-- before end_date to four days after it. If the account shows later events, a webhook
-- was lost; if it has been silent, look at the billing.
select
    missing.end_date,
    missing.account_id,
    missing.subscription_id,
    missing.plan_id,
    missing.mrr,
    missing.currency,
    accounts.lifecycle,
    accounts.last_event_at,
    accounts.last_event_at > missing.end_date + interval 5 day as is_heard_of_since,
from fct_missing_renewals as missing
inner join dim_accounts as accounts on missing.account_id = accounts.account_id
order by missing.end_date desc, missing.account_id asc, missing.subscription_id asc
