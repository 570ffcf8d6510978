{#- Instants as integers and months as numbers: the same on DuckDB and Spark, and several times
faster than timestamp plus interval. -#}

{% macro microseconds(instant) %}
    {%- if target.type == 'duckdb' -%} epoch_us({{ instant }})
    {%- else -%} unix_micros({{ instant }})
    {%- endif -%}
{% endmacro %}

{% macro instant(microseconds) %}
    {%- if target.type == 'duckdb' -%} make_timestamptz({{ microseconds }})
    {%- else -%} timestamp_micros({{ microseconds }})
    {%- endif -%}
{% endmacro %}

{#- The UTC day of an instant in microseconds, and the first microsecond of a day. Not through a
TIMESTAMPTZ: its way to a DATE and back asks the time zone's rules and takes 20 times as long. -#}
{% macro utc_date(us) %}
    {%- if target.type == 'duckdb' -%} cast(make_timestamp({{ us }}) as date)
    {%- else -%} cast({{ instant(us) }} as date)
    {%- endif -%}
{% endmacro %}

{% macro midnight_us(day) %}
    {%- if target.type == 'duckdb' -%} epoch_us(cast({{ day }} as timestamp))
    {%- else -%} unix_micros(cast({{ day }} as timestamp))
    {%- endif -%}
{% endmacro %}

{#- Microseconds in a number of days (or hours), for comparing differences of instants. -#}
{% macro days_us(days) %}{{ days * 86400000000 }}{% endmacro %}

{% macro hours_us(hours) %}{{ hours * 3600000000 }}{% endmacro %}

{% macro divide_whole(numerator, denominator) %}
    {#- Whole-number division of numbers that are not negative. -#}
    {%- if target.type == 'duckdb' -%} (({{ numerator }}) // ({{ denominator }}))
    {%- else -%} (({{ numerator }}) div ({{ denominator }}))
    {%- endif -%}
{% endmacro %}

{% macro month_number(day) %}
    {#- Months since year 0: differences and sums of months become whole numbers. -#}
    (12 * extract(year from {{ day }}) + extract(month from {{ day }}) - 1)
{%- endmacro %}

{% macro month_start(number) %}
    make_date(
        cast({{ divide_whole(number, 12) }} as integer),
        cast(mod({{ number }}, 12) + 1 as integer),
        1
    )
{%- endmacro %}

{% macro day_in_month(number, day_of_month) %}
    {#- That day of the numbered month, the month's last day where it has no such day, and never
    beyond the last day that every client can hold. -#}
    case
        when {{ number }} > 119999 then cast('9999-12-31' as date)
        else make_date(
            cast({{ divide_whole(number, 12) }} as integer),
            cast(mod({{ number }}, 12) + 1 as integer),
            cast(least(
                {{ day_of_month }},
                extract(day from last_day({{ month_start(number) }}))
            ) as integer)
        )
    end
{%- endmacro %}

{% macro numbers_between(first, last) %}
    {#- One row per whole number from first to last, both included. -#}
    {%- if target.type == 'duckdb' -%} unnest(range({{ first }}, {{ last }} + 1))
    {%- else -%} explode(sequence({{ first }}, {{ last }}))
    {%- endif -%}
{%- endmacro %}

{% macro calendar_parts(us, name) %}
    {#- Columns that place an instant in its month: number of the month, day, days of the month and
    microseconds since the day began. -#}
    {%- set day = utc_date(us) -%}
    {{ month_number(day) }} as {{ name }}_month_number,
    extract(day from {{ day }}) as {{ name }}_day,
    extract(day from last_day({{ day }})) as {{ name }}_month_days,
    {{ us }} - {{ midnight_us(day) }} as {{ name }}_time_us
{%- endmacro %}

{% macro months_passed(start, moment) %}
    {#- The largest n for which start + n calendar months <= moment, the day clamped to the month's
    end; negative before the start. Both named as in calendar_parts. -#}
    {{ moment }}_month_number - {{ start }}_month_number
    - case
        when least({{ start }}_day, {{ moment }}_month_days) > {{ moment }}_day then 1
        when
            least({{ start }}_day, {{ moment }}_month_days) = {{ moment }}_day
            and {{ start }}_time_us > {{ moment }}_time_us
            then 1
        else 0
    end
{%- endmacro %}
