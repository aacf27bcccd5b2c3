{{ config(scope="days", stats_columns=["event_date"]) }}

with

job_days as (

    select * from {{ scoped(ref("client_days")) }}

),

counts as (

    select
        event_date,
        channel,
        device,
        client,
        os,
        cast(sum(open_events) as bigint) as open_events,
        cast(sum(human_open_events) as bigint) as human_open_events,
        cast(sum(click_events) as bigint) as click_events,
        cast(sum(human_click_events) as bigint) as human_click_events
    from job_days
    where {{ in_scope("event_date") }}
    group by all

),

days as (

    select
        event_date,
        channel,
        sum(open_events) as open_events,
        sum(click_events) as click_events
    from counts
    group by all

)

select
    counts.event_date,
    counts.channel,
    counts.device,
    counts.client,
    counts.os,
    counts.open_events,
    counts.human_open_events,
    counts.click_events,
    counts.human_click_events,
    {{ ratio("counts.open_events", "days.open_events") }} as share_of_opens,
    {{ ratio("counts.click_events", "days.click_events") }} as share_of_clicks
from counts
inner join days on counts.event_date = days.event_date and counts.channel = days.channel
