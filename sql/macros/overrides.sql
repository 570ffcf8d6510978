{#- dbt's own behaviour, changed where this project knows better. -#}

{% macro generate_schema_name(custom_schema_name, node) %}
    {%- do return(custom_schema_name or 'main') -%}
{% endmacro %}

{% macro generate_database_name(custom_database_name, node) %}
    {%- do return(custom_database_name or 'serve') -%}
{% endmacro %}

{#- Atomic in DuckDB as it stands: no intermediate relation, no renames. -#}
{% materialization table, adapter='duckdb' %}
    {% set relation = this.incorporate(type='table') %}
    {% call statement('main') %}
        create or replace table {{ relation }} as (
            {{ compiled_code }}
        )
    {% endcall %}
    {% do return({'relations': [relation]}) %}
{% endmaterialization %}

{% materialization view, adapter='duckdb' %}
    {% set relation = this.incorporate(type='view') %}
    {% call statement('main') %}
        create or replace view {{ relation }} as (
            {{ compiled_code }}
        )
    {% endcall %}
    {% do return({'relations': [relation]}) %}
{% endmaterialization %}

{#- A data test of an account model looks at the accounts in scope only: the others have passed it
before and have not changed. Lets every test run in every refresh. -#}
{% macro duckdb__get_where_subquery(relation) %}
    {% set conditions = [] %}
    {% if config.get('where') %}
        {% do conditions.append('(' ~ config.get('where') ~ ')') %}
    {% endif %}
    {% if execute and is_touched() and relation.database != 'delta' %}
        {% set node = graph.nodes.get('model.hooklake.' ~ relation.identifier) %}
        {% if node and node.config.materialized == 'account_table' %}
            {% do conditions.append(
                'account_id in (select account_id from delta.main.touched_accounts)'
            ) %}
        {% endif %}
    {% endif %}
    {% if conditions %}
        {% do return(
            '(select * from ' ~ relation ~ ' where ' ~ conditions | join(' and ')
            ~ ') as rows_in_scope'
        ) %}
    {% endif %}
    {% do return(relation) %}
{% endmacro %}
