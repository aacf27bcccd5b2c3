create macro jobs_since(day) as table
    select
        jobs.correlation_id,
        jobs.job_category,
        metrics.*
    from gold.dim_jobs as jobs
    inner join gold.job_metrics as metrics on jobs.request_id = metrics.request_id
    where jobs.job_date >= cast(day as date)
