{# The first_* columns of a job's days add up to the job's counts of messages. #}
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

days as (

    select
        request_id,
        channel,
        {% for first in sums -%}
        sum({{ first }}) as {{ first }}{{ "," if not loop.last }}
        {% endfor %}
    from {{ rows_to_test(model) }}
    where request_id is not null
    group by request_id, channel

),

jobs as (

    select * from {{ ref("job_metrics") }}

)

select
    days.request_id,
    days.channel
from days
left join jobs on days.request_id = jobs.request_id and days.channel = jobs.channel
where
    {% for first, count in sums.items() -%}
    {{ "or " if not loop.first }}days.{{ first }} is distinct from jobs.{{ count }}
    {% endfor %}
{% endtest %}
