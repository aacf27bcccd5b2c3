{#
    The materialization of gold. Plan with the plugin, stage the rows under the contract, part by part, hand them over.
    The plugin puts each part by, writes all of them to Delta in one commit and points a view at what it wrote.
#}
{% materialization delta, adapter="duckdb", supported_languages=["sql"] %}
    {%- set target_relation = this.incorporate(type="view") -%}
    {%- set staged = api.Relation.create(database=this.database, schema="staged", identifier=this.identifier, type="table") -%}
    {%- set request = lake_request() -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}

    {%- do adapter.store_relation("lake", this, [], "", "plan", request) -%}
    {%- set planned = run_query("select mode, parts from plans where model = '" ~ this.identifier ~ "'").rows[0] -%}

    {% if planned["mode"] == "unchanged" %}
        {% call statement("main") -%}
            select 'unchanged' as mode
        {%- endcall %}
    {% else %}
        {% for part in range(planned["parts"] | int) %}
            {%- if not loop.first -%}
                {%- do adapter.store_relation("lake", this, [], "", "next part", request) -%}
            {%- endif -%}
            {% do run_query("set search_path = 'scope_" ~ this.identifier ~ ",main'") %}
            {% call statement("main") -%}
                {{ create_table_as(False, staged, compiled_code) }}
            {%- endcall %}
            {% do run_query("set search_path = 'main'") %}
        {% endfor %}
        {%- do adapter.store_relation("lake", this, [], "", "commit", request) -%}
    {% endif %}

    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ adapter.commit() }}
    {{ return({"relations": [target_relation]}) }}
{% endmaterialization %}

{# What the plugin needs to know of the model at hand. #}
{% macro lake_request() %}
    {%- set columns = [] -%}
    {%- for column in model.columns.values() -%}
        {%- do columns.append({"name": column.name, "data_type": column.data_type, "description": column.description}) -%}
    {%- endfor -%}
    {%- set inputs = {"silver": [], "gold": []} -%}
    {%- do collect_inputs(model.depends_on.nodes, inputs) -%}
    {%- set names = [
        "bot_click_seconds_after_delivery", "bot_click_distinct_urls", "bot_click_window_seconds", "scanner_user_agents",
        "machine_open_user_agent", "sending_hours", "settling_hours", "engaging_days", "late_seconds", "machine_rules_version", "engagement_ages_hours",
        "complaint_watch_rate", "complaint_act_rate", "complaint_minimum_accepted",
        "sms_stop_words", "sms_start_words", "placeholder_ids", "merge_tags", "recipient_addresses_at_most",
    ] -%}
    {%- set values = {} -%}
    {%- for name in names -%}
        {%- do values.update({name: var(name)}) -%}
    {%- endfor -%}
    {{ return({
        "name": this.identifier,
        "description": model.description,
        "columns": columns,
        "silver": inputs.silver | unique | sort | list,
        "gold": inputs.gold,
        "scope": config.get("scope", "requests"),
        "orphan_day": config.get("orphan_day"),
        "days_before": config.get("days_before", 0),
        "days_after": config.get("days_after", 0),
        "also_touched": config.get("also_touched"),
        "touched_by": config.get("touched_by", []),
        "counts_duplicates": config.get("counts_duplicates", false),
        "reads": config.get("reads", []),
        "keys": config.get("keys", []),
        "replaced_by": config.get("replaced_by"),
        "exported_by": config.get("exported_by"),
        "stats_columns": config.require("stats_columns"),
        "vars": values,
        "full_refresh": flags.FULL_REFRESH,
    }) }}
{% endmacro %}

{# The silver and gold tables below some nodes, through the ephemeral models between. #}
{% macro collect_inputs(nodes, inputs) %}
    {%- for id in nodes -%}
        {%- if id.startswith("source.") -%}
            {%- do inputs.silver.append(graph.sources[id].name) -%}
        {%- elif id.startswith("model.") -%}
            {%- set node = graph.nodes[id] -%}
            {%- if node.config.materialized == "delta" -%}
                {%- if node.name not in inputs.gold | map(attribute="name") -%}
                    {%- do inputs.gold.append({"name": node.name, "orphan_day": node.config.get("orphan_day")}) -%}
                {%- endif -%}
            {%- else -%}
                {%- do collect_inputs(node.depends_on.nodes, inputs) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}
