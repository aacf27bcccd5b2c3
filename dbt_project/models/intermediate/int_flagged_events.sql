{# Every event, with opens and clicks told apart into people's and machines', with the reasons (decisions G6 and G41). #}
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
        -- Neither a missing delivery nor a missing user agent proves anything.
        list_filter(
            [
                case
                    when
                        clicks.event_at - deliveries_before.delivered_at
                        <= interval '{{ var("bot_click_seconds_after_delivery") }} seconds'
                        then 'click_after_delivery'
                end,
                case when clicks.urls_around >= {{ var("bot_click_distinct_urls") }} then 'many_links_at_once' end,
                case
                    when
                        false
                        {% for name in var("scanner_user_agents") -%}
                        or contains(lower(clicks.user_agent), '{{ name }}')
                        {% endfor -%}
                        then 'scanner_user_agent'
                end
            ],
            lambda reason: reason is not null -- noqa: RF02
        ) as machine_reasons
    from clicks
    left join deliveries_before on clicks.activity_id = deliveries_before.activity_id

),

other_events as (

    select
        *,
        case
            when kind = 'open' and trim(user_agent) = '{{ var("machine_open_user_agent") }}' then ['prefetch_user_agent']
            when kind = 'open' then []
        end as machine_reasons
    from events
    where kind <> 'click'

),

flagged as (

    select * from other_events
    union all by name
    select * from flagged_clicks

)

select
    *,
    len(machine_reasons) = 0 as is_human
from flagged
