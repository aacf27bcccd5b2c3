{{ config(
    stats_columns=["request_id", "job_date", "last_send_at"],
    also_touched="select request_id, null as event_date from own where maturity <> " ~ maturity("coalesce(last_send_at, first_event_at)"),
) }}

with

events as (

    select * from {{ ref("stg_job_events") }}

),

jobs as (

    select
        request_id,
        -- The earliest event that has the identifier, ties to the smallest activity id (decision G10).
        arg_min(account_id, (event_at, activity_id)) as account_id,
        arg_min(correlation_id, (event_at, activity_id)) as correlation_id,
        arg_min(job_category, (event_at, activity_id)) as job_category,
        arg_min(campaign_id, (event_at, activity_id)) as campaign_id,
        arg_min(campaign_version, (event_at, activity_id)) as campaign_version,
        list_sort(coalesce(list(distinct channel) filter (where channel is not null), [])) as channels,
        min(event_at) filter (where is_send_evidence) as first_send_at,
        max(event_at) filter (where is_send_evidence) as last_send_at,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at
    from events
    group by all

)

select
    request_id,
    account_id,
    correlation_id,
    job_category,
    campaign_id,
    campaign_version,
    -- A request id is `t25710-<uuid>` or, newer, `02-c17306-<hex>`: the letter says what was asked for.
    case regexp_extract(request_id, '^(?:\d+-)?([a-z])\d+-', 1)
        when 'a' then 'account_activity'
        when 'b' then 'bulk_job'
        when 'c' then 'transactional_campaign'
        when 'd' then 'bulk_campaign'
        when 'k' then 'external_job'
        when 'm' then 'preview'
        when 's' then 'account_summary'
        when 't' then 'transactional_job'
        else 'other'
    end as request_type,
    channels,
    cast(coalesce(first_send_at, first_event_at) as date) as job_date,
    {{ local_date("coalesce(first_send_at, first_event_at)") }} as job_date_local,
    case when first_send_at is null then 'first_event' else 'send' end as job_date_source,
    first_send_at,
    last_send_at,
    first_event_at,
    last_event_at,
    {{ maturity("coalesce(last_send_at, first_event_at)") }} as maturity
from jobs
