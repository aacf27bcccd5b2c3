{#
    The metrics of all gold tables, each as a row of `metric_dictionary`: from the macros that the tables are made with, and from the documentation
    of their columns. None while dbt parses, for it knows all models only afterwards.
#}
{% macro metric_definitions() %}
    {%- set definitions = [] -%}
    {%- if execute -%}
        {%- set tables, descriptions = {}, {} -%}
        {%- for node in graph.nodes.values() if node.resource_type == "model" and node.config.materialized == "delta" -%}
            {%- for column in node.columns.values() -%}
                {%- do tables.setdefault(column.name, []).append(node.name) -%}
                {%- do descriptions.update({column.name: column.description}) -%}
            {%- endfor -%}
        {%- endfor -%}

        {#- The metrics of `job_metrics` are those that the others take over; its keys and dates are none. -#}
        {%- set of_jobs = graph.nodes["model.mg_lakehouse.job_metrics"].columns | reject("in", ["request_id", "channel", "job_date", "maturity"]) -%}
        {%- set counts, exclusions = message_counts(), metric_exclusions() -%}
        {%- set rates = dict(message_rates(), settled_bounce_rate=["bounced + deferred", "attempted"]) -%}
        {%- for name in (of_jobs | list + counts.keys() | list) | unique -%}
            {%- set numerator, denominator = rates.get(name, [none, none]) -%}
            {%- do definitions.append({
                "metric": name,
                "kind": "rate" if name in rates else "count" if name in counts or name == "job_errors" else "seconds",
                "definition": descriptions.get(name, "") | replace("\n", " ") | trim,
                "numerator_metric": numerator,
                "denominator_metric": denominator,
                "formula": counts.get(name, "") if name not in rates else numerator ~ " / " ~ denominator,
                "exclusions": exclusions.get(denominator or name),
                "tables": tables.get(name, []) | sort,
            }) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(definitions) }}
{% endmacro %}
