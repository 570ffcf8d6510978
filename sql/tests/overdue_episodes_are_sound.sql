-- One row per episode of a known account, closed after it opened or not at all.
with

episodes as (

    select
        *,
        count(*) over (partition by episode_id) as rows_of_episode,
    from {{ rows_in_scope('int_overdue_episodes') }}

),

accounts as (

    select account_id from {{ rows_in_scope('int_accounts') }}

)

select
    episodes.episode_id,
    episodes.account_id,
    episodes.status,
    episodes.opened_at,
    episodes.closed_at,
from episodes
left join accounts on episodes.account_id = accounts.account_id
where
    episodes.rows_of_episode > 1
    or accounts.account_id is null
    or episodes.episode_id is null
    or episodes.subscription_id is null
    or episodes.currency is null
    or episodes.notices < 1
    or episodes.cause not in ('wallet_short', 'non_renewal', 'unknown')
    or episodes.status not in ('open', 'recovered', 'lost')
    or (episodes.status = 'open') <> (episodes.closed_at is null)
    or episodes.closed_at <= episodes.opened_at
    or episodes.last_notice_at < episodes.opened_at
