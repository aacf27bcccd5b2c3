{#
    What marks a table of the lake. The engine of mg-lakehouse runs the compiled SQL of these models and writes the rows to Delta. dbt by itself
    makes a table of the database in the profile, and never writes to the lake.
#}
{% materialization delta, adapter="duckdb", supported_languages=["sql"] %}
    {{ return(materialization_table_duckdb()) }}
{% endmaterialization %}
