-- Sums of all jobs of a day, by channel.
select
    jobs.job_date_local as day,
    metrics.channel,
    count(*) as jobs,
    cast(sum(metrics.targeted) as bigint) as targeted,
    cast(sum(metrics.attempted) as bigint) as attempted,
    cast(sum(metrics.accepted) as bigint) as accepted,
    cast(sum(metrics.bounced) as bigint) as bounced,
    cast(sum(metrics.hard_bounced) as bigint) as hard_bounced,
    cast(sum(metrics.block_bounced) as bigint) as block_bounced,
    cast(sum(metrics.complainers) as bigint) as complainers,
    cast(sum(metrics.unique_human_openers) as bigint) as opened,
    cast(sum(metrics.unique_human_clickers) as bigint) as clicked
from gold.dim_jobs as jobs
inner join gold.job_metrics as metrics on jobs.request_id = metrics.request_id
where
    jobs.job_date_local between $first and $last
    and (len($categories) = 0 or list_contains($categories, jobs.job_category))
    and (len($campaigns) = 0 or list_contains($campaigns, jobs.campaign_id))
group by all
order by all
