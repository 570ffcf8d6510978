{#- What the staging models have in common. -#}

{% macro events_of_type(event_type, columns) %}
    {#- A query: the events of one type with their place in the account's history and the
    columns asked for. -#}
    select
        numbered.account_id,
        numbered.event_number,
        numbered.event_row,
        numbered.occurred_us,
        {%- for column in columns %}
            events.{{ column }},
        {%- endfor %}
    from {{ touched_events() }} as events
    inner join {{ account_ref('stg_account_events') }} as numbered
        on events.event_row = numbered.event_row
    where
        events.event_type = '{{ event_type }}'
        and numbered.event_type = '{{ event_type }}'
{%- endmacro %}

{% macro subscription_events(event_type, columns) %}
    {#- A query: the same, each event with the subscription it belongs to. -#}
    select
        events.*,
        subscriptions.subscription_number,
        subscriptions.subscription_id,
        subscriptions.attribution,
    from ({{ events_of_type(event_type, ['workspace_id'] + columns) }}) as events
    inner join {{ account_ref('stg_subscriptions') }} as subscriptions
        on
            events.account_id = subscriptions.account_id
            and coalesce(events.workspace_id, '') = subscriptions.named_workspace_id
{%- endmacro %}

{% macro first_event_of_workspaces(event_type) %}
    {#- A query: one row per workspace, its first event of the type. -#}
    select
        account_id,
        workspace_id,
        event_number,
        event_row,
        occurred_at,
        occurred_us,
    from ({{ events_of_type(event_type, ['workspace_id', 'occurred_at']) }}) as events
    qualify
        row_number() over (
            partition by account_id, workspace_id order by event_number
        ) = 1
{%- endmacro %}
