{#
    The counts of a job's days add up to the job's own, and a job with messages has days.
    Of each job that either table was built for, all rows: what made one of them anew may have left the other alone.
#}
{% test counts_sum_to_job_metrics(model) %}
{%- set counts = message_counts().keys() | reject("equalto", "human_engaged") | list %}
with

looked_at as (

    select request_id from {{ rows_to_test(model) }}
    union
    select request_id from {{ rows_to_test(ref("job_metrics")) }}

),

days as (

    select
        request_id,
        channel,
        {% for name in counts -%}
        sum({{ name }}) as {{ name }}{{ "," if not loop.last }}
        {% endfor %}
    from {{ model }}
    where request_id in (select looked_at.request_id from looked_at)
    group by request_id, channel

),

jobs as (

    select *
    from {{ ref("job_metrics") }}
    where request_id in (select looked_at.request_id from looked_at)

)

select
    coalesce(jobs.request_id, days.request_id) as request_id,
    coalesce(jobs.channel, days.channel) as channel
from jobs
full join days on jobs.request_id = days.request_id and jobs.channel = days.channel
where
    jobs.request_id is null
    {% for name in counts -%}
    or coalesce(days.{{ name }}, 0) <> jobs.{{ name }}
    {% endfor %}
{% endtest %}
