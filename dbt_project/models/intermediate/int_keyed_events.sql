{#
    Every event with the key of the message that it belongs to (decision G2), beside its address: by its id, else by its address, which is the key
    of the one id that the job has for it. One row for an event. `message_events` keeps the key; all models that must know whose an event is take
    it from there.
#}
with

events as (

    select
        *,
        -- What an event without an id is looked up by, null where nothing is to match: a condition on one side of the outer join would make
        -- it a nested loop.
        case when recipient_id is null then address end as loose_address
    from {{ ref("int_identified_events") }}

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

ids_of_addresses as (

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
    from ids_of_addresses

)

select
    events.* exclude (loose_address), -- noqa: RF02
    case
        when events.request_id is null then 'activity:' || events.activity_id
        else coalesce('id:' || events.recipient_id, address_keys.recipient_key, 'activity:' || events.activity_id)
    end as recipient_key
from events
left join address_keys
    on
        events.request_id = address_keys.request_id
        and events.channel = address_keys.channel
        and events.loose_address = address_keys.address
