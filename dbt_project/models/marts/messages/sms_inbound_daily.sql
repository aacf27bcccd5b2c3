{{ config(scope="event_days", stats_columns=["event_date"]) }}

with

inbounds as (

    select * from {{ ref("stg_sms_inbounds") }}

)

select
    event_date,
    -- The sender's own number, no person's.
    coalesce(nullif(sent_to, ''), '(none)') as sent_to,
    inbound_type,
    count(*) as events,
    count(distinct address) as senders,
    min(event_at) as first_seen_at,
    max(event_at) as last_seen_at
from inbounds
group by all
