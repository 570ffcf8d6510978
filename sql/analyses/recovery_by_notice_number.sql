-- Question: After which overdue notice do people pay, and when is it hopeless?
-- One row per: cause and number of the notice.
-- How to read: of the episodes that got this notice while open (reached), recovered
-- were paid after it and before the next; recovered_rate is their share. A notice that
-- comes after the payment counts for nothing. A first notice that recovers much and a
-- third that recovers little says: act before the third. Causes are not to be mixed:
-- wallet_short is the partner's to top up.
with

numbers as (

    select unnest(range(1, 1 + least(max(notices_before_close), 10))) as notice_number
    from fct_overdue_episodes

)

select
    episodes.cause,
    numbers.notice_number,
    count(*) as reached,
    count(
        case
            when
                episodes.notices_before_close = numbers.notice_number
                and episodes.status = 'recovered'
                then 1
        end
    ) as recovered,
    count(
        case
            when
                episodes.notices_before_close = numbers.notice_number
                and episodes.status = 'lost'
                then 1
        end
    ) as lost,
    recovered / reached as recovered_rate,
from fct_overdue_episodes as episodes
inner join numbers on episodes.notices_before_close >= numbers.notice_number
group by episodes.cause, numbers.notice_number
order by episodes.cause, numbers.notice_number
