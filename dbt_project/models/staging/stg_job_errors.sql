with

job_errors as (

    select * from {{ scoped(source("silver", "job_errors")) }}

)

select
    request_id,
    event_at,
    activity_id
from job_errors
where request_id is not null
