{#
    What `bounce_categories_daily` is added up from, kept by job so that a refresh touches few rows: events on their day, messages on the day of the
    failure that decided, and the denominators, each message on every day that it was sent or attempted (decision G13). One row for a request, day,
    channel, provider and category; those without a category hold the denominators.
#}
{{ config(stats_columns=["request_id", "event_date"], orphan_day="event_date") }}

with

events as (

    select * from {{ scoped(ref("message_events")) }}

),

messages as (

    select * from {{ scoped(ref("fct_messages")) }}

),

failures as (

    select
        request_id,
        channel,
        recipient_key,
        event_date,
        category_key,
        min(category) as received_category,
        any_value(class) as class,
        any_value(counts_as) as counts_as,
        count(*) as events
    from events
    where category_key is not null
    group by all

),

-- Events of a day, whatever became of the message.
events_of_day as (

    select
        failures.request_id,
        failures.event_date,
        failures.channel,
        messages.mailbox_provider,
        failures.category_key,
        failures.received_category,
        failures.class,
        failures.counts_as,
        failures.events
    from failures
    inner join messages
        on
            failures.request_id is not distinct from messages.request_id
            and failures.channel = messages.channel
            and failures.recipient_key = messages.recipient_key

),

-- Messages on the day of the event that decided.
messages_of_day as (

    select
        request_id,
        cast(bounced_at as date) as event_date,
        channel,
        mailbox_provider,
        bounce_category_key as category_key,
        bounce_class as class,
        bounce_counts_as as counts_as,
        1 as messages
    from messages
    where bounce_category_key is not null

),

-- Denominators have no category.
attempts as (

    select
        request_id,
        unnest(attempt_dates) as event_date,
        channel,
        mailbox_provider,
        1 as attempted_messages
    from messages

),

sends as (

    select
        request_id,
        unnest(send_dates) as event_date,
        channel,
        mailbox_provider,
        1 as sent_messages
    from messages

),

parts as (

    select * from events_of_day
    union all by name
    select * from messages_of_day
    union all by name
    select * from attempts
    union all by name
    select * from sends

)

select
    request_id,
    event_date,
    channel,
    mailbox_provider,
    category_key,
    min(received_category) as received_category,
    any_value(class) as class,
    any_value(counts_as) as counts_as,
    cast(coalesce(sum(messages), 0) as bigint) as messages,
    cast(coalesce(sum(events), 0) as bigint) as events,
    cast(coalesce(sum(attempted_messages), 0) as bigint) as attempted_messages,
    cast(coalesce(sum(sent_messages), 0) as bigint) as sent_messages
from parts
group by request_id, event_date, channel, mailbox_provider, category_key
