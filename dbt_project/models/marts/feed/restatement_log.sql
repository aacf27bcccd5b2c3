{#
    What refreshes changed in numbers that were already published (decision G60): one row for a build, a row of a table, and a metric. The tables
    are `job_metrics` and `bounce_categories_daily`, whose change feeds say what their rows were and are. Numbers of delivery are published once
    the job or the day has settled, numbers of engagement once the job is final.
#}
{{ config(scope="changes", stats_columns=["build_id", "logged_at"]) }}

{%- set of_delivery = [
    "targeted", "attempted", "accepted", "delivered", "implied_delivered", "bounced", "bounced_outofband", "hard_bounced", "soft_bounced",
    "block_bounced", "undetermined_bounced", "deferred", "suppressed", "rejected", "render_failed",
] %}
{%- set of_engagement = [
    "unique_openers", "unique_human_openers", "open_events", "unique_clickers", "unique_human_clickers", "click_events", "unsubscribers",
    "complainers",
] %}

with

jobs as (

    {{ rows_before_and_after(ref("job_metrics"), ["request_id", "channel"]) }}

),

categories as (

    {{ rows_before_and_after(ref("bounce_categories_daily"), ["event_date", "channel", "mailbox_provider", "category_key"]) }}

),

published_numbers as (

    select
        'job_metrics' as model,
        to_json({ request_id: request_id, channel: channel }) as row_key,
        is_redefined,
        unnest({{ metrics_before_and_after(of_delivery) }}) as number
    from jobs
    where was.maturity in ('engaging', 'final')

    union all

    select
        'job_metrics' as model,
        to_json({ request_id: request_id, channel: channel }) as row_key,
        is_redefined,
        unnest({{ metrics_before_and_after(of_engagement) }}) as number
    from jobs
    where was.maturity = 'final'

    union all

    select
        'bounce_categories_daily' as model,
        to_json({
            event_date: event_date,
            channel: channel,
            mailbox_provider: mailbox_provider,
            category_key: category_key
        }) as row_key,
        is_redefined,
        unnest({{ metrics_before_and_after(["messages", "denominator"]) }}) as number
    from categories
    where {{ ended_before("was.event_date", var("settling_hours")) }}

)

select
    {{ of_build("build_id") }} as build_id,
    {{ of_build("as_of") }} as logged_at,
    model,
    cast(row_key as varchar) as row_key,
    number.metric, -- noqa: RF01
    number.was as old_value,
    number.now_is as new_value,
    coalesce(number.now_is, 0) - coalesce(number.was, 0) as change,
    case when is_redefined then 'new_definitions' else 'new_events' end as reason
from published_numbers
where number.was is distinct from number.now_is
