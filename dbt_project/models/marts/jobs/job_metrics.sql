{{ config(
    stats_columns=["request_id", "job_date"],
    also_touched="select own.request_id, null as event_date from own inner join dim_jobs using (request_id) where own.maturity <> dim_jobs.maturity",
) }}

with

messages as (

    select * from {{ ref("int_messages") }}

),

jobs as (

    select * from {{ scoped(ref("dim_jobs")) }}

),

errors as (

    select * from {{ ref("stg_job_errors") }}

),

errors_of_jobs as (

    select
        request_id,
        count(*) as job_errors
    from errors
    group by all

),

counts as (

    select
        request_id,
        channel,
        {% for name, aggregate in message_counts().items() -%}
        {{ aggregate }} as {{ name }},
        {% endfor -%}
        quantile_cont(seconds_to_first_open, 0.5) filter (where is_accepted) as seconds_to_open_p50,
        quantile_cont(seconds_to_first_open, 0.9) filter (where is_accepted) as seconds_to_open_p90,
        quantile_cont(seconds_to_first_click, 0.5) filter (where is_accepted) as seconds_to_click_p50,
        quantile_cont(seconds_to_first_click, 0.9) filter (where is_accepted) as seconds_to_click_p90,
        min(first_delivered_at) as first_delivered_at,
        max(last_delivered_at) as last_delivered_at
    from messages
    where request_id is not null
    group by all

),

-- A job that ended in errors before it had a message still shows, with zeros (decision G11).
counts_of_every_job as (

    select * from counts

    union all by name

    select
        errors_of_jobs.request_id,
        'none' as channel
    from errors_of_jobs
    anti join counts on errors_of_jobs.request_id = counts.request_id

)

select
    totals.request_id,
    totals.channel,
    jobs.job_date,
    jobs.maturity,
    {% for name in message_counts() if name != "human_engaged" -%}
    cast(coalesce(totals.{{ name }}, 0) as bigint) as {{ name }},
    {% endfor -%}
    coalesce(errors_of_jobs.job_errors, 0) as job_errors,
    {{ select_rates("totals") }},
    case
        when jobs.maturity in ('engaging', 'final')
            then {{ ratio("(totals.bounced + totals.deferred)", "totals.attempted") }}
    end as settled_bounce_rate,
    totals.seconds_to_open_p50,
    totals.seconds_to_open_p90,
    totals.seconds_to_click_p50,
    totals.seconds_to_click_p90,
    {{ seconds_between("totals.first_delivered_at", "totals.last_delivered_at") }} as send_duration_seconds
from counts_of_every_job as totals
left join jobs on totals.request_id = jobs.request_id
left join errors_of_jobs on totals.request_id = errors_of_jobs.request_id
