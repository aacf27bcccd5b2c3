{{ config(scope="event_days", stats_columns=["event_date"]) }}

with

failures as (

    select * from {{ ref("int_failures") }}

),

bounce_categories as (

    select * from {{ ref("stg_bounce_categories") }}

),

mailbox_providers as (

    select * from {{ ref("stg_mailbox_providers") }}

),

bounces as (

    select
        *,
        {{ address_domain("address") }} as domain
    from failures
    where channel = 'email'

),

reasons as (

    select
        bounces.event_date,
        {{ mailbox_provider("bounces.domain", "mailbox_providers.provider") }} as mailbox_provider,
        bounces.category_key,
        bounces.smtp_code,
        bounces.enhanced_status,
        bounces.reason_fingerprint,
        min(bounces.category) as received_category,
        any_value(bounces.class) as class,
        any_value(bounces.counts_as) as counts_as,
        count(*) as events,
        count(distinct bounces.address) as addresses,
        count(distinct bounces.request_id) as jobs,
        min(bounces.event_at) as first_seen_at,
        max(bounces.event_at) as last_seen_at
    from bounces
    left join mailbox_providers on bounces.domain = mailbox_providers.domain
    group by all

)

select
    reasons.event_date,
    reasons.mailbox_provider,
    reasons.category_key,
    coalesce(bounce_categories.category, reasons.received_category, reasons.category_key) as category,
    reasons.class,
    reasons.counts_as,
    reasons.smtp_code,
    reasons.enhanced_status,
    reasons.reason_fingerprint,
    reasons.events,
    reasons.addresses,
    reasons.jobs,
    reasons.first_seen_at,
    reasons.last_seen_at
from reasons
left join bounce_categories
    on bounce_categories.channel = 'email' and reasons.category_key = bounce_categories.category_key
