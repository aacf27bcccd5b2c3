{# Every event, with opens and clicks told apart into people's and machines' (decision G6). #}
with

events as (

    select * from {{ ref("int_message_events") }}

),

clicks as (

    select
        *,
        count(distinct url) over (
            partition by request_id, channel, recipient_key
            order by event_at
            range between interval '{{ var("bot_click_window_seconds") }} seconds' preceding
            and interval '{{ var("bot_click_window_seconds") }} seconds' following
        ) as urls_around
    from events
    where kind = 'click'

),

deliveries as (

    select
        request_id,
        channel,
        recipient_key,
        event_at
    from events
    where kind = 'delivery'

),

deliveries_before as (

    select
        clicks.activity_id,
        max(deliveries.event_at) as delivered_at
    from clicks
    inner join deliveries
        on
            clicks.request_id = deliveries.request_id
            and clicks.channel = deliveries.channel
            and clicks.recipient_key = deliveries.recipient_key
            and clicks.event_at >= deliveries.event_at
    group by all

),

flagged_clicks as (

    select
        clicks.* exclude (urls_around), -- noqa: RF02
        not(
            clicks.urls_around >= {{ var("bot_click_distinct_urls") }}
            -- Neither a missing delivery nor a missing user agent proves anything.
            or coalesce(
                clicks.event_at - deliveries_before.delivered_at
                <= interval '{{ var("bot_click_seconds_after_delivery") }} seconds',
                false
            )
            {% for name in var("scanner_user_agents") -%}
            or coalesce(contains(lower(clicks.user_agent), '{{ name }}'), false)
            {% endfor %}
        ) as is_human
    from clicks
    left join deliveries_before on clicks.activity_id = deliveries_before.activity_id

),

other_events as (

    select
        *,
        case
            when kind = 'open' then coalesce(trim(user_agent), '') <> '{{ var("machine_open_user_agent") }}'
        end as is_human
    from events
    where kind <> 'click'

)

select * from other_events
union all by name
select * from flagged_clicks
