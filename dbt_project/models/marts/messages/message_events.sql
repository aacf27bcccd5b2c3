{#
    Each event of each message once: whose it is, a person's or a machine's, what it is about. What is made of messages reads it, instead of
    the thirteen tables of silver, their keys and their windows each for itself (decision G23). No address, and no text of a server. A refresh adds
    the events that came, and replaces a job only where an event of it is told otherwise now. Of its changes nobody asks: a change feed would double
    what a replacement writes.
#}
{{ config(
    stats_columns=["request_id", "event_date"],
    orphan_day="event_date",
    keys=["channel", "kind", "activity_id"],
    grows=true,
    change_feed=false,
) }}

with

events as (

    select * from {{ ref("int_flagged_events") }}

),

distinct_texts as (

    select distinct coalesce(user_agent, '') as user_agent
    from events
    where kind in ('open', 'click')

),

parsed as (

    select
        user_agent,
        parse_user_agent(user_agent) as parts
    from distinct_texts

)

select
    events.request_id,
    events.channel,
    events.recipient_key,
    events.kind,
    events.event_at,
    events.event_date,
    events.activity_id,
    events.is_human,
    events.machine_reasons,
    struct_extract(parsed.parts, 'device') as device,
    struct_extract(parsed.parts, 'client') as client,
    struct_extract(parsed.parts, 'os') as os,
    events.link,
    events.link_name,
    events.link_host,
    events.is_microsite,
    events.has_address,
    events.recipient_domain,
    events.service,
    events.category_key,
    events.category,
    events.class,
    events.counts_as,
    events.smtp_code,
    events.enhanced_status
from events
left join parsed on events.kind in ('open', 'click') and coalesce(events.user_agent, '') = parsed.user_agent
