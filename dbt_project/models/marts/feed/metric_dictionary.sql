{# Every metric with its definition: from the macros that the tables are made with and from the documentation of the columns (decision G62). #}
{{ config(scope="static", stats_columns=["metric"]) }}

{%- set counts = message_counts() %}
{%- set rates = message_rates() %}
{%- set tables = {} %}
{%- set described = {} %}
{%- set exclusions = metric_exclusions() %}
{%- if execute %}
    {%- for node in graph.nodes.values() if node.resource_type == "model" and node.config.materialized == "delta" %}
        {%- for column in node.columns.values() %}
            {%- do tables.setdefault(column.name, []).append(node.name) %}
            {%- do described.update({column.name: column.description}) %}
        {%- endfor %}
    {%- endfor %}
{%- endif %}
{#- The metrics of `job_metrics` are those that the others take over; its keys and dates are none. -#}
{%- set none_of_them = ["request_id", "channel", "job_date", "maturity"] %}
{%- set metrics = [] %}
{%- if execute %}
    {%- for name in graph.nodes["model.mg_lakehouse.job_metrics"].columns if name not in none_of_them %}
        {%- do metrics.append(name) %}
    {%- endfor %}
    {%- for name in counts if name not in metrics %}
        {%- do metrics.append(name) %}
    {%- endfor %}
{%- endif %}

{% for name in metrics -%}
{%- set parts = rates.get(name) or {"settled_bounce_rate": ["bounced + deferred", "attempted"]}.get(name) %}
{%- set excluded = exclusions.get(parts[1]) if parts else exclusions.get(name) %}
select
    '{{ name }}' as metric,
    '{{ "rate" if parts else "count" if name in counts or name == "job_errors" else "seconds" }}' as kind,
    '{{ described.get(name, "") | replace("\n", " ") | trim | replace("'", "''") }}' as definition,
    {{ "'" ~ parts[0] ~ "'" if parts else "cast(null as varchar)" }} as numerator_metric,
    {{ "'" ~ parts[1] ~ "'" if parts else "cast(null as varchar)" }} as denominator_metric,
    '{{ (counts.get(name) or (parts | join(" / ") if parts else "")) | replace("'", "''") }}' as formula,
    {{ "'" ~ excluded ~ "'" if excluded else "cast(null as varchar)" }} as exclusions,
    [{% for model in tables.get(name, []) | sort %}'{{ model }}'{{ ", " if not loop.last }}{% endfor %}] as tables
{% if not loop.last %}union all{% endif %}
{% else -%}
select
    cast(null as varchar) as metric,
    cast(null as varchar) as kind,
    cast(null as varchar) as definition,
    cast(null as varchar) as numerator_metric,
    cast(null as varchar) as denominator_metric,
    cast(null as varchar) as formula,
    cast(null as varchar) as exclusions,
    cast(null as varchar[]) as tables
where false
{% endfor %}
