{#
    The engine of mg-lakehouse compiles for the target `mg_engine`, and shows each model the rows of the affected keys only. dbt by itself has
    another target, and sees all rows. A macro that a project on top calls names no other: there the name would be looked for in that project.
#}

{#
    An input as the model at hand may see it. The engine has a view for it, in a schema of the model that is on the search path: the rows of the
    affected keys, or all in a full build. Elsewhere it is the input itself, and in a unit test the fixture.
#}
{% macro scoped(relation) -%}
    {%- if target.name == "mg_engine" and not relation.identifier.startswith("__dbt__cte__") -%}
        scoped_{{ relation.identifier }}
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{# What changed in a gold input since the last build of a model of the scope `changes`: its rows, `change`, `version`, `is_redefined`. dbt by itself keeps no history. #}
{% macro feed(relation) -%}
    {%- if target.name == "mg_engine" -%}
        feed_{{ relation.identifier }}
    {%- else -%}
        (select *, cast(null as varchar) as change, cast(null as bigint) as version, false as is_redefined from {{ relation }} where false)
    {%- endif -%}
{%- endmacro %}

{# The rows that a model of the scope `additions` has already: none in a full build, and none for dbt by itself. #}
{% macro known_rows() -%}
    {%- if target.name == "mg_engine" -%}
        known
    {%- else -%}
        (
            select
                {% for column in model.columns.values() -%}
                cast(null as {{ column.data_type }}) as {{ column.name }}{{ "," if not loop.last }}
                {% endfor %}
            where false
        )
    {%- endif -%}
{%- endmacro %}

{# What the ledgers of silver say of copies that were dropped: `silver_table, received_hour, duplicates`. dbt by itself does not read them. #}
{% macro dropped_duplicates() -%}
    {%- if target.name == "mg_engine" -%}
        scoped_duplicates
    {%- else -%}
        (select cast(null as varchar) as silver_table, cast(null as timestamptz) as received_hour, cast(null as bigint) as duplicates where false)
    {%- endif -%}
{%- endmacro %}

{# Whether a date is one that a model of the scope `days` makes rows for: every date for dbt by itself. #}
{% macro in_scope(event_date) -%}
    {%- if target.name == "mg_engine" -%}
        {{ event_date }} in (select days.event_date from days)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# The rows of a model that a test looks at: what the build at hand made of it, or the whole table. #}
{% macro rows_to_test(model) -%}
    {%- if target.name == "mg_engine" -%}
        tested.{{ model.identifier }}
    {%- else -%}
        {{ model }}
    {%- endif -%}
{%- endmacro %}
