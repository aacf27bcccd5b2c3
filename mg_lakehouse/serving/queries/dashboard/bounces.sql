-- Failures of the jobs that are looked at, by day, class and category.
select
    event_date as day,
    coalesce(class, counts_as) as kind,
    coalesce(received_category, category_key) as category,
    cast(sum(messages) as bigint) as messages
from gold.bounce_days
where
    request_id in (
        select jobs.request_id
        from gold.dim_jobs as jobs
        where
            jobs.job_date_local between $first and $last
            and (len($categories) = 0 or list_contains($categories, jobs.job_category))
            and (len($campaigns) = 0 or list_contains($campaigns, jobs.campaign_id))
    )
    and messages > 0
    and counts_as is not null
group by all
order by all
