{{ config(stats_columns=["request_id", "event_date"], orphan_day="event_date") }}

with

events as (

    select
        request_id,
        event_date,
        channel,
        kind,
        is_human,
        coalesce(user_agent, '') as user_agent
    from {{ ref("int_flagged_events") }}
    where kind in ('open', 'click')

),

distinct_texts as (

    select distinct user_agent from events

),

parsed as (

    select
        user_agent,
        parse_user_agent(user_agent) as parts
    from distinct_texts

)

select
    events.request_id,
    events.event_date,
    events.channel,
    struct_extract(parsed.parts, 'device') as device,
    struct_extract(parsed.parts, 'client') as client,
    struct_extract(parsed.parts, 'os') as os,
    count(*) filter (where events.kind = 'open') as open_events,
    count(*) filter (where events.kind = 'open' and events.is_human) as human_open_events,
    count(*) filter (where events.kind = 'click') as click_events,
    count(*) filter (where events.kind = 'click' and events.is_human) as human_click_events
from events
inner join parsed on events.user_agent = parsed.user_agent
group by all
