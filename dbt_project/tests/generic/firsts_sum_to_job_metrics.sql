{#
    The first_* columns of a job's days add up to the job's counts of messages, and a job with messages has days.
    Of each job that either table was built for, all rows: what made one of them anew may have left the other alone.
#}
{% test firsts_sum_to_job_metrics(model) %}
{%- set sums = {
    "first_delivered": "delivered",
    "first_bounced": "bounced",
    "first_opens": "unique_openers",
    "first_human_opens": "unique_human_openers",
    "first_clicks": "unique_clickers",
    "first_human_clicks": "unique_human_clickers",
    "first_unsubscribes": "unsubscribers",
    "first_complaints": "complainers",
} %}
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
        {% for first in sums -%}
        sum({{ first }}) as {{ first }}{{ "," if not loop.last }}
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
    or (days.request_id is null and jobs.targeted > 0)
    {% for first, count in sums.items() -%}
    or coalesce(days.{{ first }}, 0) <> jobs.{{ count }}
    {% endfor %}
{% endtest %}
