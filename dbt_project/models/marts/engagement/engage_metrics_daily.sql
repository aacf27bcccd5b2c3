{{ config(scope="event_days", stats_columns=["event_date"]) }}

with

asked as (

    select
        event_date,
        vendor,
        prefix,
        true as is_hit,
        record_size,
        -- How old the record was that was given out, in whole seconds, counted: see `feed_health_hourly`.
        case
            when coalesce(updated_at, created_at) is not null
                then greatest(date_diff('second', coalesce(updated_at, created_at), event_at), 0)
        end as age_seconds
    from {{ scoped(source("silver", "context_hits")) }}

    union all

    select
        event_date,
        vendor,
        prefix,
        false as is_hit,
        cast(null as bigint) as record_size,
        cast(null as bigint) as age_seconds
    from {{ scoped(source("silver", "context_misses")) }}

),

named as (

    select
        event_date,
        coalesce(nullif(trim(vendor), ''), '(none)') as vendor,
        coalesce(nullif(trim(prefix), ''), '(none)') as prefix,
        is_hit,
        age_seconds,
        count(*) as requests,
        sum(record_size) as record_bytes
    from asked
    group by all

),

ranked as (

    select
        *,
        case
            when age_seconds is not null
                then sum(requests) over (
                    partition by event_date, vendor, prefix, age_seconds is not null
                    order by age_seconds
                )
        end as so_far,
        sum(requests) filter (where age_seconds is not null) over (partition by event_date, vendor, prefix) as with_age
    from named

),

counts as (

    select
        event_date,
        vendor,
        prefix,
        sum(requests) as requests,
        coalesce(sum(requests) filter (where is_hit), 0) as hits,
        coalesce(sum(requests) filter (where not is_hit), 0) as misses,
        coalesce(sum(record_bytes), 0) as record_bytes,
        min(age_seconds) filter (where so_far >= with_age * 0.5) as record_age_seconds_p50,
        min(age_seconds) filter (where so_far >= with_age * 0.9) as record_age_seconds_p90
    from ranked
    group by all

)

select
    event_date,
    vendor,
    prefix,
    cast(requests as bigint) as requests,
    cast(hits as bigint) as hits,
    cast(misses as bigint) as misses,
    {{ ratio("hits", "requests") }} as hit_rate,
    cast(record_bytes as bigint) as record_bytes,
    record_age_seconds_p50,
    record_age_seconds_p90
from counts
