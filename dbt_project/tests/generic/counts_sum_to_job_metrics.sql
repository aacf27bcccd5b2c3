{# The counts of a job's days add up to the job's own, and a job with messages has days. #}
{% test counts_sum_to_job_metrics(model) %}
{%- set sums = {} -%}
{%- for name in message_counts() if name != "human_engaged" -%}
    {%- do sums.update({name: name}) -%}
{%- endfor -%}
{{ sums_that_differ(model, sums) }}
{% endtest %}
