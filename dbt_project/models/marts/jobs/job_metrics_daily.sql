{{ config(stats_columns=["request_id", "event_date"], orphan_day="event_date") }}

{%- set kinds = {
    "delivery_events": "kind = 'delivery'",
    "bounce_events": "kind = 'bounce'",
    "deferral_events": "kind = 'deferral'",
    "suppression_events": "kind = 'suppression'",
    "rejection_events": "kind = 'rejection'",
    "render_error_events": "kind = 'render_error'",
    "open_events": "kind = 'open'",
    "human_open_events": "kind = 'open' and is_human",
    "click_events": "kind = 'click'",
    "human_click_events": "kind = 'click' and is_human",
    "unsubscribe_events": "kind = 'unsubscribe'",
    "complaint_events": "kind = 'complaint'",
} %}
{#- The time of the first event of a kind, and the messages that the job counts by it (decision G16). -#}
{%- set firsts = {
    "first_delivered": ["first_delivered_at", "outcome in ('delivered', 'bounced_after_delivery')"],
    "first_bounced": ["bounced_at", "outcome in ('bounced', 'bounced_after_delivery')"],
    "first_opens": ["first_opened_at", "is_accepted"],
    "first_human_opens": ["first_human_opened_at", "is_accepted"],
    "first_clicks": ["first_clicked_at", "is_accepted"],
    "first_human_clicks": ["first_human_clicked_at", "is_accepted"],
    "first_unsubscribes": ["unsubscribed_at", "is_accepted"],
    "first_complaints": ["complained_at", "is_accepted"],
} %}

with

events as (

    select * from {{ scoped(ref("message_events")) }}

),

messages as (

    select * from {{ scoped(ref("fct_messages")) }}

),

events_of_day as (

    select
        request_id,
        channel,
        event_date,
        {{ local_date("event_at") }} as event_date_local,
    {% for name, condition in kinds.items() -%}
    count(*) filter (where {{ condition }}) as {{ name }}{{ "," if not loop.last }}
    {% endfor %}
    from events
    group by all

),

firsts as (

    {% for name, parts in firsts.items() -%}
    select
        request_id,
        channel,
        cast({{ parts[0] }} as date) as event_date,
        {{ local_date(parts[0]) }} as event_date_local,
        '{{ name }}' as name
    from messages
    where {{ parts[0] }} is not null and {{ parts[1] }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}

),

firsts_of_day as (

    select
        request_id,
        channel,
        event_date,
        event_date_local,
    {% for name in firsts -%}
    count(*) filter (where name = '{{ name }}') as {{ name }}{{ "," if not loop.last }}
    {% endfor %}
    from firsts
    group by all

),

parts as (

    select * from events_of_day
    union all by name
    select * from firsts_of_day

)

select
    request_id,
    channel,
    event_date,
    event_date_local,
{% for name in kinds.keys() | list + firsts.keys() | list -%}
cast(coalesce(sum({{ name }}), 0) as bigint) as {{ name }}{{ "," if not loop.last }}
{% endfor %}
from parts
group by all
