{#- For singular data tests of kept account models: the table a reader will see, of the accounts
in scope only. The others passed before and have not changed, which keeps the tests cheap. -#}
{% macro rows_in_scope(name) %}
    {% set relation = ref(name) %}
    {% if execute and is_touched() %}
        {% do return(
            '(select * from ' ~ relation ~ ' where account_id in'
            ~ ' (select account_id from delta.main.touched_accounts)) as rows_in_scope'
        ) %}
    {% endif %}
    {% do return(relation) %}
{% endmacro %}
