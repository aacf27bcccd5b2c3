{#
    The opens and clicks of a job and day add up to the job's own of that day.
    Of each job that either table was built for, all rows: what made one of them anew may have left the other alone.
#}
{% test events_sum_to_job_days(model) %}
{%- set counts = ["open_events", "human_open_events", "click_events", "human_click_events"] %}
with

looked_at as (

    select request_id from {{ rows_to_test(model) }}
    union
    select request_id from {{ rows_to_test(ref("job_metrics_daily")) }}

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
