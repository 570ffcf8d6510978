-- One row per overdue episode: the notices of one payment, or of one open claim.
with

notices as (

    select * from {{ account_ref('int_overdue_notices') }}

),

closings as (

    select * from {{ account_ref('int_overdue_closings') }}

),

periods as (

    select * from {{ account_ref('int_paid_periods') }}

),

-- NULL where the catalogue has several currencies, or none.
catalogue as (

    select case when min(currency) = max(currency) then min(currency) end as currency
    from {{ ref('plan_prices') }}

),

-- Grain: episode.
episodes as (

    select
        account_id,
        opening_event_number,
        count(*) as notices,
        max(occurred_at) as last_notice_at,
        max_by(
            amount, case when amount is not null then event_number end
        ) as amount,
        max_by(
            currency, case when currency is not null then event_number end
        ) as currency,
        max_by(
            auto_renew, case when auto_renew is not null then event_number end
        ) as auto_renew,
        min_by(
            workspace_id, case when workspace_id is not null then event_number end
        ) as workspace_id,
        min(due_date) as due_date,
    from notices
    group by account_id, opening_event_number

),

-- Grain: episode. A payment's notice may come when its episode is closed already.
late as (

    select
        notices.account_id,
        notices.opening_event_number,
        count(*) as notices,
    from notices
    inner join notices as openers
        on
            notices.account_id = openers.account_id
            and notices.opening_event_number = openers.event_number
    where notices.event_number > openers.closing_event_number
    group by notices.account_id, notices.opening_event_number

),

opened as (

    select
        episodes.account_id,
        openers.subscription_id,
        episodes.workspace_id,
        openers.payment_id,
        coalesce(
            'payment|' || openers.payment_id, 'event|' || openers.event_id
        ) as known_by,
        openers.event_number,
        openers.event_id,
        openers.occurred_at as opened_at,
        openers.occurred_us as opened_us,
        openers.occurred_date as opened_date,
        episodes.last_notice_at,
        episodes.notices,
        episodes.notices - coalesce(late.notices, 0) as notices_before_close,
        episodes.amount,
        episodes.currency,
        episodes.auto_renew,
        episodes.due_date,
        closings.outcome,
        closings.occurred_at as closed_at,
        closings.occurred_us as closed_us,
    from episodes
    inner join notices as openers
        on
            episodes.account_id = openers.account_id
            and episodes.opening_event_number = openers.event_number
    left join closings
        on
            openers.account_id = closings.account_id
            and openers.closing_event_number = closings.event_number
    left join late
        on
            episodes.account_id = late.account_id
            and episodes.opening_event_number = late.opening_event_number

)

select
    {{ hash_of_pair('opened.account_id', 'opened.known_by') }} as episode_id,
    opened.account_id,
    opened.subscription_id,
    opened.workspace_id,
    opened.payment_id,
    case opened.auto_renew
        when true then 'wallet_short'
        when false then 'non_renewal'
        else 'unknown'
    end as cause,
    opened.opened_at,
    opened.opened_us,
    opened.opened_date,
    {{ month_number('opened.opened_date') }} as month_number,
    opened.last_notice_at,
    opened.notices,
    opened.notices_before_close,
    opened.amount,
    coalesce(
        opened.currency, periods.currency, catalogue.currency, 'unknown'
    ) as currency,
    opened.due_date,
    coalesce(opened.outcome, 'open') as status,
    opened.closed_at,
    opened.closed_us,
    {{ utc_date('opened.closed_us') }} - opened.opened_date as days_to_close,
    opened.event_number,
    opened.event_id,
from opened
cross join catalogue
left join periods
    on
        opened.account_id = periods.account_id
        and opened.subscription_id = periods.subscription_id
        and opened.opened_us >= periods.from_us
        and (periods.to_us is null or opened.opened_us < periods.to_us)
