-- To the cent, per account and currency: every movement starts where the one before
-- ended, and the last one ends at what the open periods are worth.
with

movements as (

    select
        *,
        row_number() over (
            partition by account_id, currency order by movement_number desc
        ) as from_last,
        coalesce(
            lag(account_mrr_after) over (
                partition by account_id, currency order by movement_number
            ),
            0
        ) as expected_before,
    from {{ rows_in_scope('int_mrr_movements') }}

),

running as (

    select
        account_id,
        currency,
        sum(mrr) as mrr,
    from {{ rows_in_scope('int_plan_periods') }}
    where is_paid and valid_to is null
    group by account_id, currency

)

select
    movements.account_id,
    movements.currency,
    movements.expected_before,
    movements.account_mrr_before,
    movements.account_mrr_after,
    running.mrr,
from movements
left join running
    on
        movements.account_id = running.account_id
        and movements.currency = running.currency
where
    movements.account_mrr_before <> movements.expected_before
    or (
        movements.from_last = 1
        and movements.account_mrr_after <> coalesce(running.mrr, 0)
    )
