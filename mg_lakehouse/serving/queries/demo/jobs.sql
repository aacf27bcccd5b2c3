-- The jobs that deliver best, or worst; a rate of the reader's belongs to e-mail alone.
select
    coalesce(jobs.correlation_id, metrics.request_id) as job,
    metrics.channel,
    metrics.targeted,
    metrics.delivery_rate,
    metrics.bounce_rate,
    case when metrics.channel = 'email' then metrics.human_open_rate end as human_open_rate,
    case when metrics.channel = 'email' then metrics.human_click_rate end as human_click_rate,
    case when metrics.channel = 'email' then metrics.complaint_rate end as complaint_rate
from gold.job_metrics as metrics
inner join gold.dim_jobs as jobs on metrics.request_id = jobs.request_id
where metrics.attempted >= 20
order by
    case when $best then -metrics.delivery_rate else metrics.delivery_rate end asc,
    metrics.attempted desc,
    metrics.request_id asc
limit 5
