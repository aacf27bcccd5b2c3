{#
    Every event with the key of the message that it belongs to (decision G2), beside its address. `message_events` keeps the key; all models that
    must know whose an event is take it from there.
#}
with

events as (

    select * from {{ ref("int_events") }}

),

-- Two steps: all but few ids have one address, and to tell that takes hashes. Two that meet only add to what is looked at next.
ids_of_several as (

    select hash(request_id, channel, recipient_id) as id_hash
    from events
    where request_id is not null and recipient_id is not null and address is not null
    group by hash(request_id, channel, recipient_id)
    having min(hash(address)) <> max(hash(address))

),

-- An id that a job has for more addresses than a person has is nobody's: its events are told apart by their addresses.
shared_ids as (

    select
        events.request_id,
        events.channel,
        events.recipient_id
    from events
    where
        events.request_id is not null
        and hash(events.request_id, events.channel, events.recipient_id) in (select ids_of_several.id_hash from ids_of_several)
    group by all
    having count(distinct events.address) > {{ var("recipient_addresses_at_most") }}

),

identified as (

    select
        events.* exclude (recipient_id), -- noqa: RF02
        events.recipient_id as own_recipient_id,
        case when shared_ids.recipient_id is null then events.recipient_id end as recipient_id
    from events
    left join shared_ids
        on
            events.request_id = shared_ids.request_id
            and events.channel = shared_ids.channel
            and events.recipient_id = shared_ids.recipient_id

),

located as (

    select
        *,
        -- A condition on one side of an outer join would turn it into a nested loop: what must not match is null.
        case when recipient_id is null then address end as loose_address
    from identified

),

-- Most feeds have a recipient id in every event: then there is nothing to look up, and nothing to group.
loose_addresses as (

    select distinct
        request_id,
        channel,
        loose_address
    from located
    where request_id is not null and loose_address is not null

),

addresses as (

    select
        located.request_id,
        located.channel,
        located.address,
        min(located.recipient_id) as first_recipient_id,
        max(located.recipient_id) as last_recipient_id
    from located
    semi join loose_addresses
        on
            located.request_id = loose_addresses.request_id
            and located.channel = loose_addresses.channel
            and located.address = loose_addresses.loose_address
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
    located.* exclude (loose_address), -- noqa: RF02
    case
        when located.request_id is null then 'activity:' || located.activity_id
        else coalesce('id:' || located.recipient_id, address_keys.recipient_key, 'activity:' || located.activity_id)
    end as recipient_key
from located
left join address_keys
    on
        located.request_id = address_keys.request_id
        and located.channel = address_keys.channel
        and located.loose_address = address_keys.address
