{#- Money is counted in integer cents: DECIMAL / 12 is a DOUBLE in DuckDB and misrounds. -#}

{% macro monthly_cents(amount, months) %}
    {#- The amount divided by months, rounded half away from zero; amounts are not negative. -#}
    {{ divide_whole(
        '2 * cast(' ~ amount ~ ' * 100 as bigint) + ' ~ months,
        '2 * ' ~ months
    ) }}
{%- endmacro %}

{% macro from_cents(cents) %}
    cast({{ cents }} * cast(0.01 as decimal(3, 2)) as decimal(18, 2))
{%- endmacro %}

{#- Whether a plan is paid for, given the row of int_plan_prices that covers the instant (NULL
columns where none does). Never NULL. -#}
{% macro is_paid_plan(plan_id, mrr) %}
    coalesce(
        case
            when {{ mrr }} is not null then {{ mrr }} > 0
            else {{ plan_id }} not in ('free', 'trial')
        end,
        false
    )
{%- endmacro %}

{% macro money(total) %}
    {#- A sum of amounts as money; NULL beyond 16 digits, so that a sender's absurd amounts stop
    nothing. -#}
    try_cast({{ total }} as decimal(18, 2))
{%- endmacro %}
