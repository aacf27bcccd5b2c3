{{ config(stats_columns=["request_id", "event_date"], orphan_day="event_date") }}

with

messages as (

    select * from {{ ref("int_messages") }}

)

select
    request_id,
    cast(first_event_at as date) as event_date,
    channel,
    mailbox_provider,
    recipient_domain,
{% for name, aggregate in message_counts().items() -%}
cast({{ aggregate }} as bigint) as {{ name }}{{ "," if not loop.last }}
{% endfor %}
from messages
group by request_id, cast(first_event_at as date), channel, mailbox_provider, recipient_domain
