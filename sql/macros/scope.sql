{#- What a refresh looks at. Scope `touched`: only the accounts with new events, whose rows lie in
the in-memory database `delta`; scope `full`: everybody. -#}

{% macro touched_events() %}
    {#- One row per event of the accounts in scope (at scope `full`: all), type `other` left out.
    Columns: all of a stored row but payload; account_id is the owner by attribution, never NULL,
    stated_account_id is what the event said; event_row is a whole number of the event's own, good
    within this refresh, by which models join what they left behind: sorting and joining numbers
    takes a third of the time of names. -#}
    {% do return(source('touched', 'events')) %}
{% endmacro %}

{% macro account_ref(name) %}
    {#- Another account model, for use in account models only: the rows of the accounts in scope.
    Plain ref() in an account model would read every account and insert all of them again. -#}
    {% set relation = ref(name) %}
    {% if execute and model.resource_type != 'unit_test' and is_touched() %}
        {% do return(api.Relation.create(database='delta', schema='main', identifier=name)) %}
    {% endif %}
    {% do return(relation) %}
{% endmacro %}

{% macro is_touched() %}
    {% do return(var('scope') == 'touched') %}
{% endmacro %}

{% macro as_of() %}
    {#- The instant the warehouse describes, as a TIMESTAMPTZ literal. Not for account models.
    The comment marks it for warehouse/recipe.py, which puts a later instant in its place. -#}
    cast(/* as_of */ '{{ var("as_of") }}' as {{ type_instant() }})
{%- endmacro %}

{% macro as_of_date() %}
    {#- Its UTC day; the sender's instants and the session are UTC. -#}
    cast(/* as_of_date */ '{{ var("as_of")[:10] }}' as date)
{%- endmacro %}

{% macro type_instant() %}
    {%- if target.type == 'duckdb' -%} timestamptz {%- else -%} timestamp {%- endif -%}
{% endmacro %}
