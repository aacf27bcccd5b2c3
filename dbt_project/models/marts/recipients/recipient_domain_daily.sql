{{ config(scope="days", stats_columns=["event_date"]) }}

-- depends_on: {{ ref("job_metrics_daily") }}
{{ funnel_of_days(["recipient_domain", "mailbox_provider"]) }}
