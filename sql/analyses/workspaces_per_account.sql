-- Question: How many workspaces do accounts have, and do those with more pay more?
-- One row per: number of live workspaces (5 stands for 5 and more).
-- How to read: paying_rate is the share of the row's accounts that pay now.
-- mrr_per_payer averages over the paying accounts of the most used currency alone.
with

main_currency as (

    select currency
    from dim_accounts
    where is_paying
    group by currency
    order by count(*) desc, currency asc
    limit 1

)

select
    least(accounts.workspaces_live, 5) as workspaces_live,
    count(*) as accounts,
    count(case when accounts.is_paying then 1 end) as paying,
    paying / count(*) as paying_rate,
    avg(
        case when accounts.currency = main_currency.currency then accounts.mrr end
    ) as mrr_per_payer,
    any_value(main_currency.currency) as currency,
from dim_accounts as accounts
left join main_currency on true
group by least(accounts.workspaces_live, 5)
order by workspaces_live
