-- What there is to choose from.
select
    min(job_date_local) as first,
    max(job_date_local) as last,
    list_sort(list(distinct job_category) filter (where job_category is not null)) as categories,
    list_sort(list(distinct campaign_id) filter (where campaign_id is not null)) as campaigns
from gold.dim_jobs
