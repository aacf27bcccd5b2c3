{#
    What happened to a job day by day, in counts that may be added up: one row for a request, channel, UTC day and day in the business time zone.
    Events count on their own day. Messages count on the day of their first event of a kind, under the condition of the job's count, so that the
    days of a job sum up to `job_metrics` (decision G16).
#}
{{ config(stats_columns=["request_id", "event_date"], orphan_day="event_date") }}

{#- Counts of events, and which events each counts. -#}
{%- set event_counts = {
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
{#- Counts of messages, the time on whose day each counts a message, and which messages. -#}
{%- set first_counts = {
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

days_of_events as (

    select
        request_id,
        channel,
        event_date,
        {{ local_date("event_at") }} as event_date_local,
    {% for name, condition in event_counts.items() -%}
    count(*) filter (where {{ condition }}) as {{ name }}{{ "," if not loop.last }}
    {% endfor %}
    from events
    group by all

),

firsts_of_messages as (

    {% for name, (first_at, condition) in first_counts.items() -%}
    select
        request_id,
        channel,
        {{ first_at }} as first_at,
        '{{ name }}' as name
    from messages
    where {{ first_at }} is not null and {{ condition }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}

),

days_of_firsts as (

    select
        request_id,
        channel,
        cast(first_at as date) as event_date,
        {{ local_date("first_at") }} as event_date_local,
    {% for name in first_counts -%}
    count(*) filter (where name = '{{ name }}') as {{ name }}{{ "," if not loop.last }}
    {% endfor %}
    from firsts_of_messages
    group by all

),

days as (

    select * from days_of_events
    union all by name
    select * from days_of_firsts

)

-- A day may have events, messages or both.
select
    request_id,
    channel,
    event_date,
    event_date_local,
{% for name in event_counts.keys() | list + first_counts.keys() | list -%}
cast(coalesce(sum({{ name }}), 0) as bigint) as {{ name }}{{ "," if not loop.last }}
{% endfor %}
from days
group by all
