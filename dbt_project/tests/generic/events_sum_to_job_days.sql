{#
    The opens and clicks of a job and day add up to the job's own of that day.
#}
{% test events_sum_to_job_days(model) %}
{%- set counts = ["open_events", "human_open_events", "click_events", "human_click_events"] %}
with

looked_at as (

    {{ jobs_looked_at(model, ref("job_metrics_daily")) }}

),

parts as (

    select
        request_id,
        channel,
        event_date,
        {% for name in counts -%}
        {{ name }}{{ "," if not loop.last }}
        {% endfor %}
    from {{ model }}
    union all by name
    select
        request_id,
        channel,
        event_date,
        {% for name in counts -%}
        -{{ name }} as {{ name }}{{ "," if not loop.last }}
        {% endfor %}
    from {{ ref("job_metrics_daily") }}

)

select
    request_id,
    channel,
    event_date
from parts
where request_id in (select looked_at.request_id from looked_at)
group by all
having
    {% for name in counts -%}
    {{ "or " if not loop.first }}sum({{ name }}) <> 0
    {% endfor %}
{% endtest %}
