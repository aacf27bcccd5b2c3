-- Errors of a job and of rendering, by code. Silver has codes as they came, with addresses in some: only those that gold shows
-- are told apart.
with

received as (

    select
        'job' as kind,
        trim(one.error.error_code) as code
    from silver.job_errors
    cross join unnest(errors) as one (error)
    where request_id = $request_id

    union all

    select
        'rendering' as kind,
        trim(one.error.error_code) as code
    from silver.render_errors
    cross join unnest(errors) as one (error)
    where request_id = $request_id

),

known as (

    select distinct
        'job' as kind,
        error_code
    from gold.job_errors

    union all

    select distinct
        'rendering' as kind,
        error_code
    from gold.render_errors

)

select
    received.kind,
    coalesce(known.error_code, if(received.code <> '', '(other)', '(none)')) as code,
    count(*) as events
from received
left join known
    on
        received.kind = known.kind
        and received.code = known.error_code
group by all
