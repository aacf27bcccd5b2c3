{{ config(stats_columns=["request_id"]) }}

with

clicks as (

    select * from {{ scoped(ref("message_events")) }}
    where kind = 'click' and channel = 'email' and request_id is not null

),

messages as (

    select * from {{ scoped(ref("fct_messages")) }}

),

links as (

    select
        clicks.request_id,
        coalesce(clicks.link, '(none)') as link,
        clicks.link_name,
        clicks.link_host,
        clicks.is_microsite,
        clicks.is_human,
        clicks.event_at,
        clicks.activity_id,
        case when messages.is_accepted then clicks.recipient_key end as accepted_recipient
    from clicks
    left join messages
        on
            clicks.request_id = messages.request_id
            and clicks.channel = messages.channel
            and clicks.recipient_key = messages.recipient_key

),

counts as (

    select
        request_id,
        link,
        -- The name and the host of the latest click that has one.
        arg_max(link_name, (event_at, activity_id)) filter (where link_name is not null) as link_name,
        arg_max(link_host, (event_at, activity_id)) filter (where link_host is not null) as link_host,
        count(*) as click_events,
        count(*) filter (where is_human) as human_click_events,
        count(distinct accepted_recipient) as unique_clickers,
        count(distinct accepted_recipient) filter (where is_human) as unique_human_clickers,
        count(*) filter (where is_microsite) as microsite_clicks,
        min(event_at) as first_clicked_at,
        max(event_at) as last_clicked_at
    from links
    group by all

),

jobs as (

    select
        request_id,
        sum(click_events) as click_events
    from counts
    group by request_id

)

select
    counts.request_id,
    counts.link,
    counts.link_name,
    counts.link_host,
    counts.click_events,
    counts.human_click_events,
    counts.unique_clickers,
    counts.unique_human_clickers,
    {{ ratio("counts.microsite_clicks", "counts.click_events") }} as microsite_rate,
    {{ ratio("counts.click_events", "jobs.click_events") }} as click_share_rate,
    row_number() over (
        partition by counts.request_id
        order by counts.click_events desc, counts.human_click_events desc, counts.link asc
    ) as click_position,
    counts.first_clicked_at,
    counts.last_clicked_at
from counts
inner join jobs on counts.request_id = jobs.request_id
