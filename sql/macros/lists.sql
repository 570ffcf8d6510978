{#- Lists, for what a recursive walk carries along. -#}

{% macro list_of_one(value) %}
    {%- if target.type == 'duckdb' -%} [{{ value }}]
    {%- else -%} array({{ value }})
    {%- endif -%}
{%- endmacro %}

{% macro first_of(list) %}
    {#- NULL where it is empty. -#}
    {%- if target.type == 'duckdb' -%} list_extract({{ list }}, 1)
    {%- else -%} try_element_at({{ list }}, 1)
    {%- endif -%}
{%- endmacro %}

{% macro those_of(list, condition) %}
    {#- Those of which the condition holds, in their order; it calls one of them `it`. -#}
    {%- if target.type == 'duckdb' -%} list_filter({{ list }}, lambda it: {{ condition }})
    {%- else -%} filter({{ list }}, it -> {{ condition }})
    {%- endif -%}
{%- endmacro %}

{% macro named_values(values) %}
    {#- One value of several named ones; values: expression by name. -#}
    {%- if target.type == 'duckdb' -%}
        struct_pack({% for name, value in values.items() -%}
            {{ name }} := {{ value }}{{ ', ' if not loop.last }}
        {%- endfor %})
    {%- else -%}
        struct({% for name, value in values.items() -%}
            {{ value }} as {{ name }}{{ ', ' if not loop.last }}
        {%- endfor %})
    {%- endif -%}
{%- endmacro %}
