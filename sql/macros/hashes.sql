{#- Ids made of other ids. -#}

{% macro hash_of_pair(first, second) %}
    {#- md5 of `<length of the first>|<first>|<second>`. Senders choose their ids, and may put the
    mark into them: without the length `a|b` and `c` would be `a` and `b|c`. -#}
    md5(cast(length({{ first }}) as string) || '|' || {{ first }} || '|' || {{ second }})
{%- endmacro %}
