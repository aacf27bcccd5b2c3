{# The clicks of all links of a job are the clicks of its e-mail. #}
{% test clicks_sum_to_job_metrics(model) %}
with

looked_at as (

    {{ jobs_looked_at(model, ref("job_metrics")) }}

),

links as (

    select
        request_id,
        sum(click_events) as click_events
    from {{ model }}
    where request_id in (select looked_at.request_id from looked_at)
    group by request_id

),

jobs as (

    select
        request_id,
        click_events
    from {{ ref("job_metrics") }}
    where channel = 'email' and request_id in (select looked_at.request_id from looked_at)

)

select
    coalesce(jobs.request_id, links.request_id) as request_id,
    jobs.click_events as of_job,
    links.click_events as of_links
from jobs
full join links on jobs.request_id = links.request_id
where coalesce(jobs.click_events, 0) <> coalesce(links.click_events, 0)
{% endtest %}
