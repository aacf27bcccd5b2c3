create macro job(id) as table
    select
        jobs.*,
        metrics.* exclude (request_id, job_date, maturity)
    from gold.dim_jobs as jobs
    inner join gold.job_metrics as metrics on jobs.request_id = metrics.request_id
    where jobs.request_id = id or jobs.correlation_id = id
