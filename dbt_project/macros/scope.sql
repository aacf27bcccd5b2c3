{#
    An input as the model at hand may see it: only the rows of the touched keys, or all in a full build. The plugin makes
    the views, in a schema of the model that the materialization puts on the search path. In a unit test it is the fixture.
#}
{% macro scoped(relation) -%}
    {%- if relation.identifier.startswith("__dbt__cte__") -%}
        {{ relation }}
    {%- else -%}
        scoped_{{ relation.identifier }}
    {%- endif -%}
{%- endmacro %}

{# What changed in a gold input since the last build of a model of the scope `changes`: its rows, `change` and `version`. #}
{% macro feed(relation) -%}
    feed_{{ relation.identifier }}
{%- endmacro %}

{# The rows that a model of the scope `additions` has already: none in a full build. #}
{% macro known_rows() -%}
    known
{%- endmacro %}

{# Whether a date is one that a model of the scope `days` makes rows for. Unit tests override it with `true`. #}
{% macro in_scope(event_date) -%}
    {{ event_date }} in (select days.event_date from days)
{%- endmacro %}

{# The rows of a model that a test looks at: what this build made of it, or the whole table in a run of tests alone. #}
{% macro rows_to_test(model) %}
    {%- if execute -%}
        {%- set found = run_query(
            "select count(*) from duckdb_views() where schema_name = 'tested' and view_name = '" ~ model.identifier ~ "'"
        ).columns[0].values()[0] -%}
        {%- if found -%}
            {{ return(api.Relation.create(database=model.database, schema="tested", identifier=model.identifier)) }}
        {%- endif -%}
    {%- endif -%}
    {{ return(model) }}
{% endmacro %}
