-- The newest jobs with funnel and rates, by job and channel.
select
    coalesce(jobs.correlation_id, jobs.request_id) as job,
    metrics.channel,
    jobs.job_date_local as day,
    jobs.maturity,
    jobs.job_category as category,
    jobs.campaign_id as campaign,
    metrics.targeted,
    metrics.attempted,
    metrics.accepted,
    metrics.bounced,
    metrics.unique_human_openers as opened,
    metrics.unique_human_clickers as clicked,
    metrics.unsubscribers,
    metrics.complainers,
    metrics.delivery_rate,
    metrics.bounce_rate,
    metrics.human_open_rate,
    metrics.human_click_rate,
    jobs.request_id
from gold.dim_jobs as jobs
inner join gold.job_metrics as metrics
    on
        jobs.request_id = metrics.request_id
        and jobs.maturity = metrics.maturity
where
    jobs.job_date_local between $first and $last
    and (len($categories) = 0 or list_contains($categories, jobs.job_category))
    and (len($campaigns) = 0 or list_contains($campaigns, jobs.campaign_id))
order by coalesce(jobs.last_send_at, jobs.last_event_at) desc, jobs.request_id asc, metrics.channel asc
limit $most
