{#
    The messages of all categories of a job are its bounced, suppressed, rejected and deferred messages.
#}
{% test messages_sum_to_failures(model) %}
with

looked_at as (

    {{ jobs_looked_at(model, ref("job_metrics")) }}

),

categories as (

    select
        request_id,
        channel,
        sum(messages) as messages
    from {{ model }}
    where request_id in (select looked_at.request_id from looked_at)
    group by all

),

jobs as (

    select
        request_id,
        channel,
        bounced + suppressed + rejected + deferred as failed
    from {{ ref("job_metrics") }}
    where request_id in (select looked_at.request_id from looked_at)

)

select
    coalesce(jobs.request_id, categories.request_id) as request_id,
    coalesce(jobs.channel, categories.channel) as channel,
    categories.messages,
    jobs.failed
from jobs
full join categories on jobs.request_id = categories.request_id and jobs.channel = categories.channel
where jobs.request_id is null or coalesce(categories.messages, 0) <> jobs.failed
{% endtest %}
