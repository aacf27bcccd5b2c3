{#
    Identities between the counts of a row, those that the model names, and that every rate lies within 0 and 1: the contract says which columns
    are rates.
#}
{% test identities_hold(model, identities) %}
{%- set checks = {} -%}
{%- for name in identities -%}
    {%- do checks.update({name: identity_conditions()[name]}) -%}
{%- endfor -%}
{%- for node in (graph.nodes.values() if execute else []) if node.relation_name == model | string -%}
    {%- for name in node.columns if ("rate" in name.split("_") or name == "share_of_failures") and "vs" not in name.split("_") -%}
        {%- do checks.update({name: name ~ " is null or " ~ name ~ " between 0 and 1"}) -%}
    {%- endfor -%}
{%- endfor %}
with

checked as (

    select
        *,
        list_filter(
            [
                {% for name, condition in checks.items() -%}
                case when not ({{ condition }}) then '{{ name }}' end{{ "," if not loop.last }}
                {% endfor %}
            ],
            lambda name: name is not null
        ) as broken
    from {{ rows_to_test(model) }}

)

select *
from checked
where len(broken) > 0
{% endtest %}
