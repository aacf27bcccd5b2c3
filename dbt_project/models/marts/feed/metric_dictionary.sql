{#
    Every metric with its definition (decision G62): one row for a metric. The rows are made while dbt compiles, by `metric_definitions`;
    they come into the SQL as JSON, and get their types here.
#}
{{ config(scope="static", stats_columns=["metric"]) }}

select
    unnest(
        from_json(
            '{{ metric_definitions() | tojson }}',
            '[{
                "metric": "varchar",
                "kind": "varchar",
                "definition": "varchar",
                "numerator_metric": "varchar",
                "denominator_metric": "varchar",
                "formula": "varchar",
                "exclusions": "varchar",
                "tables": ["varchar"]
            }]'
        ),
        max_depth := 2
    )
