{#- A model whose rows belong to one account each, a pure function of that account's events.

Scope `full`: the whole table, in place. Scope `touched`: the accounts in scope are computed into
`delta`, their old rows deleted and the new ones inserted. Deleting by touched account and not by
what was computed is what removes the rows of an account whose result has become empty.
A model configured into database `delta` itself (staging) is never kept. -#}

{% materialization account_table, adapter='duckdb' %}
    {% set kept = this.incorporate(type='table') %}
    {% if not is_touched() or this.database == 'delta' %}
        {% call statement('main') %}
            create or replace table {{ kept }} as (
                {{ compiled_code }}
            )
        {% endcall %}
        {% do adapter.commit() %}
    {% else %}
        {% set computed = api.Relation.create(
            database='delta', schema='main', identifier=this.identifier, type='table'
        ) %}
        {% call statement('main') %}
            create or replace table {{ computed }} as (
                {{ compiled_code }}
            )
        {% endcall %}
        {% do adapter.commit() %}
        {% set strays = run_query(
            "select count(*) from " ~ computed ~ " where account_id is null"
            " or account_id not in (select account_id from delta.main.touched_accounts)"
        ).columns[0].values()[0] %}
        {% if strays > 0 %}
            {% do exceptions.raise_compiler_error(
                this.identifier ~ " holds " ~ strays ~ " rows of accounts outside this refresh; "
                "an account model reads only touched_events() and account_ref()"
            ) %}
        {% endif %}
        {% call statement('replace') %}
            delete from {{ kept }}
            where account_id in (select account_id from delta.main.touched_accounts);
            insert into {{ kept }} select * from {{ computed }}
        {% endcall %}
        {% do adapter.commit() %}
    {% endif %}
    {% do return({'relations': [kept]}) %}
{% endmaterialization %}
