-- Question: Who owes what, for how long, and why?
-- One row per: open overdue episode, the longest overdue first.
-- How to read: days_overdue counts from the due date (from the first notice where none
-- is stated) and is negative before it. wallet_short: top up your wallet at the sender.
-- non_renewal: the customer is leaving. account_mrr is what may be
-- lost, in account_currency: that of the account's largest plan, which need not be that
-- of the amount.
select
    episodes.account_id,
    episodes.workspace_id,
    episodes.cause,
    episodes.amount,
    episodes.currency,
    episodes.due_date,
    episodes.days_overdue,
    episodes.ageing_bucket,
    episodes.notices,
    episodes.last_notice_at,
    accounts.lifecycle,
    accounts.mrr as account_mrr,
    accounts.currency as account_currency,
from fct_overdue_episodes as episodes
inner join dim_accounts as accounts on episodes.account_id = accounts.account_id
where episodes.status = 'open'
order by episodes.days_overdue desc, episodes.opened_at asc, episodes.episode_id asc
