{# Every event with the key of the message it belongs to (decision G2). The address ends here. #}
with

events as (

    select
        *,
        -- A condition on one side of an outer join would turn it into a nested loop: what must not match is null.
        case when recipient_id is null then address end as loose_address
    from {{ ref("int_events") }}

),

-- Most feeds have a recipient id in every event: then there is nothing to look up, and nothing to group.
loose_addresses as (

    select distinct
        request_id,
        channel,
        loose_address
    from events
    where request_id is not null and loose_address is not null

),

addresses as (

    select
        events.request_id,
        events.channel,
        events.address,
        min(events.recipient_id) as first_recipient_id,
        max(events.recipient_id) as last_recipient_id
    from events
    semi join loose_addresses
        on
            events.request_id = loose_addresses.request_id
            and events.channel = loose_addresses.channel
            and events.address = loose_addresses.loose_address
    group by all

),

address_keys as (

    select
        request_id,
        channel,
        address,
        {{ key_of_address("channel", "address", "first_recipient_id", "last_recipient_id") }} as recipient_key
    from addresses

)

select
    events.request_id,
    events.channel,
    events.kind,
    events.event_at,
    events.event_date,
    events.activity_id,
    events.user_agent,
    events.url,
    events.link,
    events.link_name,
    events.link_host,
    events.is_microsite,
    events.service,
    events.category_key,
    events.category,
    events.class,
    events.counts_as,
    events.smtp_code,
    events.enhanced_status,
    case
        when events.request_id is null then 'activity:' || events.activity_id
        else coalesce('id:' || events.recipient_id, address_keys.recipient_key, 'activity:' || events.activity_id)
    end as recipient_key,
    events.address is not null as has_address,
    case when events.channel = 'email' then {{ address_domain("events.address") }} end as recipient_domain
from events
left join address_keys
    on
        events.request_id = address_keys.request_id
        and events.channel = address_keys.channel
        and events.loose_address = address_keys.address
