{#
    Why messages failed, against the week and the four weeks before (decision G13): one row for a day, channel, provider and category. A rate is of what
    was attempted, of suppressions and rejections of all that was sent.
#}
{{ config(scope="days", days_before=28, days_after=28, stats_columns=["event_date"]) }}

with

job_days as (

    select * from {{ scoped(ref("bounce_days")) }}

),

bounce_categories as (

    select * from {{ ref("stg_bounce_categories") }}

),

denominators as (

    select
        event_date,
        channel,
        mailbox_provider,
        sum(attempted_messages) as attempted_messages,
        sum(sent_messages) as sent_messages
    from job_days
    where category_key is null
    group by all

),

categories as (

    select
        event_date,
        channel,
        mailbox_provider,
        category_key,
        min(received_category) as received_category,
        any_value(class) as class,
        any_value(counts_as) as counts_as,
        any_value(counts_as) in ('suppressed', 'rejected') as is_of_all_sent,
        sum(messages) as messages,
        sum(events) as events
    from job_days
    where category_key is not null
    group by all

),

-- Each row of the result beside the days that its rolling values look at: itself and the 28 before it.
looked_at as (

    select
        categories.event_date,
        categories.channel,
        categories.mailbox_provider,
        categories.category_key,
        denominators.event_date as looked_at_date,
        case
            when categories.is_of_all_sent then denominators.sent_messages
            else denominators.attempted_messages
        end as denominator
    from categories
    inner join denominators
        on
            categories.channel = denominators.channel
            and categories.mailbox_provider = denominators.mailbox_provider
            and categories.event_date >= denominators.event_date
            and categories.event_date - 28 <= denominators.event_date
    where {{ in_scope("categories.event_date") }}

),

rolling as (

    select
        looked_at.event_date,
        looked_at.channel,
        looked_at.mailbox_provider,
        looked_at.category_key,
        sum(looked_at.denominator) filter (where looked_at.looked_at_date = looked_at.event_date) as denominator,
        sum(looked_at.denominator) filter (where looked_at.looked_at_date > looked_at.event_date - 7) as denominator_7d,
        sum(categories.messages) filter (where looked_at.looked_at_date > looked_at.event_date - 7) as messages_7d,
        -- A day without this category counts 0, a day without anything sent does not count.
        median(coalesce(categories.messages, 0) / looked_at.denominator) filter (
            where looked_at.looked_at_date < looked_at.event_date and looked_at.denominator > 0
        ) as rate_median_28d
    from looked_at
    left join categories
        on
            looked_at.looked_at_date = categories.event_date
            and looked_at.channel = categories.channel
            and looked_at.mailbox_provider = categories.mailbox_provider
            and looked_at.category_key = categories.category_key
    group by all

)

select
    categories.event_date,
    categories.channel,
    categories.mailbox_provider,
    categories.category_key,
    coalesce(bounce_categories.category, categories.received_category, categories.category_key) as category,
    categories.class,
    categories.counts_as,
    cast(categories.messages as bigint) as messages,
    cast(categories.events as bigint) as events,
    cast(coalesce(rolling.denominator, 0) as bigint) as denominator,
    {{ ratio("categories.messages", "rolling.denominator") }} as rate,
    cast(coalesce(rolling.messages_7d, 0) as bigint) as messages_7d,
    cast(coalesce(rolling.denominator_7d, 0) as bigint) as denominator_7d,
    {{ ratio("coalesce(rolling.messages_7d, 0)", "rolling.denominator_7d") }} as rate_7d,
    rolling.rate_median_28d,
    case
        when rolling.rate_median_28d > 0
            then {{ ratio("categories.messages", "rolling.denominator") }} / rolling.rate_median_28d
    end as rate_vs_median_28d
from categories
inner join rolling
    on
        categories.event_date = rolling.event_date
        and categories.channel = rolling.channel
        and categories.mailbox_provider = rolling.mailbox_provider
        and categories.category_key = rolling.category_key
left join bounce_categories
    on
        categories.channel = bounce_categories.channel
        and categories.category_key = bounce_categories.category_key
