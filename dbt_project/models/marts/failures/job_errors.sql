{{ config(scope="whole", stats_columns=["last_seen_at"]) }}

with

failed as (

    select
        request_id,
        activity_id,
        event_at,
        -- An event without a readable error still counts.
        unnest(case when len(errors) > 0 then errors else [null] end) as error
    from {{ scoped(source("silver", "job_errors")) }}

),

errors as (

    select
        request_id,
        activity_id,
        event_at,
        {{ error_code("error.error_code") }} as error_code,
        {{ reason_fingerprint(reason_words("error.error_message")) }} as error_fingerprint
    from failed

)

select
    error_code,
    error_fingerprint,
    count(distinct activity_id) as events,
    count(distinct request_id) as jobs,
    min(event_at) as first_seen_at,
    max(event_at) as last_seen_at,
    -- In a struct, for a null is an answer: the newest may belong to no job.
    struct_extract(arg_max({ request_id: request_id }, (event_at, activity_id)), 'request_id') as newest_request_id
from errors
group by all
