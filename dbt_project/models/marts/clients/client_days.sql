{{ config(stats_columns=["request_id", "event_date"], orphan_day="event_date") }}

with

events as (

    select * from {{ scoped(ref("message_events")) }}
    where kind in ('open', 'click')

)

select
    request_id,
    event_date,
    channel,
    device,
    client,
    os,
    count(*) filter (where kind = 'open') as open_events,
    count(*) filter (where kind = 'open' and is_human) as human_open_events,
    count(*) filter (where kind = 'click') as click_events,
    count(*) filter (where kind = 'click' and is_human) as human_click_events
from events
group by all
