{{ config(stats_columns=["request_id", "job_date"]) }}

with

jobs as (

    select * from {{ scoped(ref("job_metrics")) }}
    where channel = 'sms'

),

categories as (

    select * from {{ scoped(ref("job_bounce_categories")) }}
    where channel = 'sms'

),

failures as (

    select
        request_id,
        sum(messages) filter (where category_key = 'INVALID_ADDRESS') as invalid_addresses,
        sum(messages) filter (where category_key = 'INTERNATIONAL_SENDING_PROHIBITED') as international_prohibited,
        sum(messages) filter (where category_key = 'ADDRESS_BLOCKED') as addresses_blocked,
        sum(messages) filter (where category_key = 'INVALID_CONTENT') as invalid_content,
        sum(messages) filter (where category_key = 'SERVICE_FAILURE') as service_failures,
        sum(messages) filter (where category_key = 'JOB_CANCELLED') as cancelled,
        sum(messages) filter (
            where category_key not in (
                'INVALID_ADDRESS', 'INTERNATIONAL_SENDING_PROHIBITED', 'ADDRESS_BLOCKED', 'INVALID_CONTENT', 'SERVICE_FAILURE',
                'JOB_CANCELLED'
            )
        ) as other_failures
    from categories
    group by request_id

)

select
    jobs.request_id,
    jobs.job_date,
    jobs.targeted,
    jobs.attempted,
    jobs.accepted,
    jobs.bounced,
    jobs.rejected,
    jobs.render_failed,
    {% for name in [
        "invalid_addresses", "international_prohibited", "addresses_blocked", "invalid_content", "service_failures", "cancelled", "other_failures",
    ] -%}
    cast(coalesce(failures.{{ name }}, 0) as bigint) as {{ name }},
    {% endfor -%}
    jobs.delivery_rate,
    {{ ratio("coalesce(failures.invalid_addresses, 0)", "jobs.attempted") }} as invalid_address_rate
from jobs
left join failures on jobs.request_id = failures.request_id
