-- Recent jobs with messages that could not be rendered, by channel.
select
    job_metrics.request_id,
    job_metrics.channel,
    job_metrics.render_failed,
    job_metrics.targeted
from job_metrics
inner join dim_jobs on job_metrics.request_id = dim_jobs.request_id
where
    dim_jobs.last_event_at >= $since
    and job_metrics.render_failed > 0
