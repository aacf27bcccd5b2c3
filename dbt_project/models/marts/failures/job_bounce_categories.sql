{{ config(stats_columns=["request_id"]) }}

with

events as (

    select * from {{ scoped(ref("message_events")) }}

),

messages as (

    select * from {{ scoped(ref("fct_messages")) }}

),

jobs as (

    select * from {{ scoped(ref("job_metrics")) }}

),

bounce_categories as (

    select * from {{ ref("stg_bounce_categories") }}

),

events_of_category as (

    select
        request_id,
        channel,
        category_key,
        min(category) as received_category,
        any_value(class) as class,
        any_value(counts_as) as counts_as,
        count(*) as events,
        min(event_at) as first_seen_at,
        max(event_at) as last_seen_at
    from events
    where category_key is not null and request_id is not null
    group by all

),

messages_of_category as (

    select
        request_id,
        channel,
        bounce_category_key as category_key,
        count(*) as messages
    from messages
    where bounce_category_key is not null and request_id is not null
    group by all

),

categories as (

    select
        events_of_category.request_id,
        events_of_category.channel,
        events_of_category.category_key,
        coalesce(
            bounce_categories.category, events_of_category.received_category, events_of_category.category_key
        ) as category,
        events_of_category.class,
        events_of_category.counts_as,
        coalesce(messages_of_category.messages, 0) as messages,
        events_of_category.events,
        events_of_category.first_seen_at,
        events_of_category.last_seen_at
    from events_of_category
    left join messages_of_category
        on
            events_of_category.request_id = messages_of_category.request_id
            and events_of_category.channel = messages_of_category.channel
            and events_of_category.category_key = messages_of_category.category_key
    left join bounce_categories
        on
            events_of_category.channel = bounce_categories.channel
            and events_of_category.category_key = bounce_categories.category_key

),

failures_of_job as (

    select
        request_id,
        channel,
        sum(messages) as messages
    from categories
    group by all

)

select
    categories.request_id,
    categories.channel,
    categories.category_key,
    categories.category,
    categories.class,
    categories.counts_as,
    categories.messages,
    categories.events,
    {{ ratio("categories.messages", "failures_of_job.messages") }} as share_of_failures,
    case
        when categories.counts_as in ('suppressed', 'rejected')
            then {{ ratio("categories.messages", "jobs.targeted") }}
        else {{ ratio("categories.messages", "jobs.attempted") }}
    end as rate,
    categories.first_seen_at,
    categories.last_seen_at
from categories
left join failures_of_job
    on categories.request_id = failures_of_job.request_id and categories.channel = failures_of_job.channel
left join jobs
    on categories.request_id = jobs.request_id and categories.channel = jobs.channel
