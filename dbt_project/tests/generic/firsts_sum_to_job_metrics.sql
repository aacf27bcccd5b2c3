{# The first_* columns of a job's days add up to the job's counts of messages, and a job with messages has days. #}
{% test firsts_sum_to_job_metrics(model) %}
{{ sums_that_differ(model, {
    "first_delivered": "delivered",
    "first_bounced": "bounced",
    "first_opens": "unique_openers",
    "first_human_opens": "unique_human_openers",
    "first_clicks": "unique_clickers",
    "first_human_clicks": "unique_human_clickers",
    "first_unsubscribes": "unsubscribers",
    "first_complaints": "complainers",
}) }}
{% endtest %}
