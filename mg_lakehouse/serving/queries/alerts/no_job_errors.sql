-- Recent jobs that had errors, with the messages that they have all the same.
select
    job_metrics.request_id,
    max(job_metrics.job_errors) as job_errors,
    sum(job_metrics.targeted) as targeted
from job_metrics
inner join dim_jobs on job_metrics.request_id = dim_jobs.request_id
where
    dim_jobs.last_event_at >= $since
    and job_metrics.job_errors > 0
group by all
