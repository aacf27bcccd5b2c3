{#
    What must hold within a row: the identities that the model names (`macros/identities.sql`), and that a share lies within 0 and 1. The rows that
    fail have the names of what they break as `broken`.
#}
{% test identities_hold(model, identities) %}
{%- set conditions = {} -%}
{%- for name in identities -%}
    {%- do conditions.update({name: identity(name)}) -%}
{%- endfor -%}
{%- for column in share_columns(model) -%}
    {%- do conditions.update({column: column ~ " between 0 and 1"}) -%}
{%- endfor %}
with

checked as (

    select
        *,
        list_filter(
            [
                {% for name, condition in conditions.items() -%}
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
