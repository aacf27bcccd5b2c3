-- Complaints about recent jobs, of messages at providers that report complaints.
select
    job_metrics.request_id,
    job_metrics.channel,
    job_metrics.accepted_fbl as accepted,
    job_metrics.complainers_fbl as complainers
from job_metrics
inner join dim_jobs on job_metrics.request_id = dim_jobs.request_id
where
    dim_jobs.last_event_at >= $since
    and job_metrics.accepted_fbl >= $messages
    and job_metrics.complainers_fbl > 0
