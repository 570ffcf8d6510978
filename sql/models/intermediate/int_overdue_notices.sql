{{ config(database='delta', schema='main') }}
{% set never = 9223372036854775807 %}
-- One row per notice, with the event that would close an episode opened by it (NULL =
-- nothing has) and the notice that opens the episode it belongs to.
with recursive

notices as (

    select
        *,
        min(event_number) over (
            partition by account_id, payment_id
        ) as payment_event_number,
        first_value(workspace_id ignore nulls) over (
            partition by account_id, payment_id
            order by event_number
            rows between unbounded preceding and unbounded following
        ) as payment_workspace_id,
        case
            when payment_id is null then subscription_id
            else first_value(subscription_id) over (
                partition by account_id, payment_id
                order by event_number
                rows between unbounded preceding and unbounded following
            )
        end as episode_subscription_id,
    from {{ account_ref('stg_overdue_payment') }}

),

noticed_accounts as (

    select
        account_id,
        min(occurred_us) as first_us,
    from notices
    group by account_id

),

closings as (

    select closings.*
    from {{ account_ref('int_overdue_closings') }} as closings
    inner join noticed_accounts on closings.account_id = noticed_accounts.account_id
    where closings.occurred_us > noticed_accounts.first_us

),

-- Grain: notice or closing.
notices_and_closings as (

    select
        account_id,
        event_number,
        occurred_us,
        true as is_notice,
        case
            when payment_id is null then workspace_id else payment_workspace_id
        end as named_workspace_id,
        coalesce(
            case when payment_id is not null then payment_workspace_id end,
            case when attribution <> 'account' then subscription_id end
        ) as workspace_id,
        cast(null as varchar) as reach,
    from notices
    union all
    select
        account_id,
        event_number,
        occurred_us,
        false as is_notice,
        cast(null as varchar) as named_workspace_id,
        workspace_id,
        reach,
    from closings

),

-- Strictly later: the range starts one microsecond after the row.
next_closings as (

    select
        *,
        min(case when reach = 'any' then event_number end)
            over account_later as next_any,
        min(case when reach = 'any' and workspace_id is null then event_number end)
            over account_later as next_of_no_workspace,
        min(case when reach = 'last' then event_number end)
            over account_later as next_last_deletion,
        min(case when reach is not null then event_number end)
            over workspace_later as next_of_workspace,
    from notices_and_closings
    window
        account_later as (
            partition by account_id
            order by occurred_us
            range between 1 following and unbounded following
        ),
        workspace_later as (
            partition by account_id, workspace_id
            order by occurred_us
            range between 1 following and unbounded following
        )

),

closed as (

    select
        notices.*,
        case
            when next_closings.named_workspace_id is not null
                then least(
                    next_closings.next_of_no_workspace, next_closings.next_of_workspace
                )
            when next_closings.workspace_id is not null
                then least(
                    next_closings.next_any,
                    next_closings.next_last_deletion,
                    next_closings.next_of_workspace
                )
            else least(next_closings.next_any, next_closings.next_last_deletion)
        end as closing_event_number,
    from notices
    inner join next_closings
        on
            notices.account_id = next_closings.account_id
            and notices.event_number = next_closings.event_number
            and next_closings.is_notice

),

of_payments as (

    select
        notices.account_id,
        notices.episode_subscription_id as subscription_id,
        notices.event_number,
        notices.occurred_us,
        notices.payment_id,
        case
            when notices.payment_id is null then notices.event_number
            else notices.payment_event_number
        end as own_event_number,
        coalesce(
            case
                when notices.payment_id is null then notices.closing_event_number
                else openers.closing_event_number
            end,
            {{ never }}
        ) as own_closing_event_number,
        row_number() over (
            partition by notices.account_id, notices.episode_subscription_id
            order by notices.event_number
        ) as notice_number,
        max(notices.payment_id is null) over (
            partition by notices.account_id, notices.episode_subscription_id
        ) as is_walked,
    from closed as notices
    left join closed as openers
        on
            notices.account_id = openers.account_id
            and notices.payment_event_number = openers.event_number

),

-- A subscription has one notice without a payment a day at most, and those without any
-- are not walked.
to_walk as (

    select
        *,
        {{ named_values({
            'opening_event_number': 'own_event_number',
            'closing_event_number': 'own_closing_event_number',
            'last_us': 'occurred_us',
        }) }} as own_episode,
    from of_payments
    where is_walked

),

-- The notices of a subscription one after the other: one without a payment joins the
-- episode noticed last of those still open and noticed within seven days, or opens its
-- own. A payment's episode is of the subscription of its first notice.
-- open_episodes: the one noticed last, then those noticed before it that stay open for
-- longer than all after them. No other could be joined: while it is open, so is one
-- that was noticed later.
walked as (

    select
        account_id,
        subscription_id,
        notice_number,
        event_number,
        own_event_number as opening_event_number,
        {{ list_of_one('own_episode') }} as open_episodes,
    from to_walk
    where notice_number = 1
    union all
    select
        steps.account_id,
        steps.subscription_id,
        steps.notice_number,
        steps.event_number,
        steps.noticed.opening_event_number,
        case
            when steps.noticed.closing_event_number <= steps.event_number
                then steps.open_episodes
            else {{ list_of_one('steps.noticed') }} || {{ those_of(
                'steps.open_episodes',
                'it.closing_event_number > steps.noticed.closing_event_number'
            ) }}
        end as open_episodes,
    from (
        select
            joinable.*,
            case
                when joinable.payment_id is null and joinable.joined is not null
                    then {{ named_values({
                        'opening_event_number': 'joinable.joined.opening_event_number',
                        'closing_event_number': 'joinable.joined.closing_event_number',
                        'last_us': 'joinable.occurred_us',
                    }) }}
                else joinable.own_episode
            end as noticed,
        from (
            select
                *,
                {{ first_of('open_episodes') }} as joined,
            from (
                select
                    notices.*,
                    {{ those_of(
                        'walked.open_episodes',
                        'it.closing_event_number > notices.event_number'
                        ~ ' and notices.occurred_us - it.last_us <= ' ~ days_us(7)
                    ) }} as open_episodes,
                from walked
                inner join to_walk as notices
                    on
                        walked.account_id = notices.account_id
                        and walked.subscription_id = notices.subscription_id
                        and walked.notice_number + 1 = notices.notice_number
            ) as next_notices
        ) as joinable
    ) as steps

)

select
    closed.account_id,
    closed.subscription_id,
    closed.event_number,
    closed.event_id,
    closed.occurred_at,
    closed.occurred_us,
    closed.occurred_date,
    closed.workspace_id,
    closed.payment_id,
    closed.amount,
    closed.currency,
    closed.auto_renew,
    closed.due_date,
    closed.closing_event_number,
    coalesce(
        walked.opening_event_number,
        case
            when closed.payment_id is null then closed.event_number
            else closed.payment_event_number
        end
    ) as opening_event_number,
from closed
left join walked
    on
        closed.account_id = walked.account_id
        and closed.event_number = walked.event_number
