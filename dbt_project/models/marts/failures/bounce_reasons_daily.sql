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
        {{ address_domain("address") }} as domain,
        {{ reason_words("details") }} as words,
        {{ local_part("address") }} as own
    from failures
    where channel = 'email'

),

named as (

    select
        * replace ({{ without_local_part("words", "own") }} as words),
        {{ local_names("own") }} as names
    from bounces

),

-- In steps, for what one step writes once the next reads several times. Not in staging: every model of events would work it out, and
-- it is dear.
nameless as (

    select * replace ({{ without_names("words", "names") }} as words)
    from named

),

worded as (

    select
        * exclude (words, own, names),
        {{ reason_fingerprint("words") }} as reason_fingerprint
    from nameless

),

reasons as (

    select
        worded.event_date,
        {{ mailbox_provider("worded.domain", "mailbox_providers.provider") }} as mailbox_provider,
        worded.category_key,
        worded.smtp_code,
        worded.enhanced_status,
        worded.reason_fingerprint,
        min(worded.category) as received_category,
        any_value(worded.class) as class,
        any_value(worded.counts_as) as counts_as,
        count(*) as events,
        count(distinct worded.address) as addresses,
        count(distinct worded.request_id) as jobs,
        min(worded.event_at) as first_seen_at,
        max(worded.event_at) as last_seen_at
    from worded
    left join mailbox_providers on worded.domain = mailbox_providers.domain
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
