{# The messages of all categories of a job are its bounced, suppressed, rejected and deferred messages. #}
{% test messages_sum_to_failures(model) %}
with

categories as (

    select
        request_id,
        channel,
        sum(messages) as messages
    from {{ rows_to_test(model) }}
    group by all

),

jobs as (

    select * from {{ ref("job_metrics") }}

)

select
    categories.request_id,
    categories.channel,
    categories.messages,
    jobs.bounced + jobs.suppressed + jobs.rejected + jobs.deferred as failed
from categories
left join jobs on categories.request_id = jobs.request_id and categories.channel = jobs.channel
where categories.messages is distinct from jobs.bounced + jobs.suppressed + jobs.rejected + jobs.deferred
{% endtest %}
