-- What recent jobs delivered, beside the median of the jobs of their category in the days before.
with

jobs as (

    select
        job_metrics.request_id,
        job_metrics.channel,
        dim_jobs.job_category,
        job_metrics.job_date,
        job_metrics.maturity,
        dim_jobs.last_event_at,
        job_metrics.accepted,
        job_metrics.attempted
    from job_metrics
    inner join dim_jobs on job_metrics.request_id = dim_jobs.request_id
    where
        dim_jobs.job_category is not null
        and job_metrics.attempted >= $messages

),

siblings as (

    select
        jobs.request_id,
        jobs.channel,
        median(others.accepted / others.attempted) as usual,
        count(*) as siblings
    from jobs
    inner join jobs as others
        on
            jobs.channel = others.channel
            and jobs.job_category = others.job_category
            and jobs.request_id <> others.request_id
            and others.job_date between jobs.job_date - cast($sibling_days as integer) and jobs.job_date
    group by all

)

select
    jobs.*,
    siblings.usual,
    siblings.siblings
from jobs
inner join siblings
    on
        jobs.request_id = siblings.request_id
        and jobs.channel = siblings.channel
where
    jobs.last_event_at >= $since
    and jobs.maturity <> 'sending'
