{#
    Every event with the key of the message that it belongs to (decision G2), beside its address. `message_events` keeps the key; all models that
    must know whose an event is take it from there.
#}
with

every_event as (

    select * from {{ ref("int_events") }}

),

-- A spreadsheet takes the zeros from `00123`: the person of that address has `123` in its rows, and is one all the same (decision G76).
jobs_of_padded_ids as (

    select distinct
        request_id,
        channel
    from every_event
    where
        request_id is not null
        and (starts_with(recipient_id, '0') or starts_with(recipient_id, '''') or ends_with(recipient_id, '.0'))

),

-- Ids with zeros are nearly always of one length: then there is nothing to look for, which would take 2 µs an event.
jobs_of_several_lengths as (

    select
        every_event.request_id,
        every_event.channel
    from every_event
    semi join jobs_of_padded_ids
        on
            every_event.request_id = jobs_of_padded_ids.request_id
            and every_event.channel = jobs_of_padded_ids.channel
    where every_event.recipient_id is not null
    group by all
    having min(length(every_event.recipient_id)) <> max(length(every_event.recipient_id))

),

padded_ids as (

    select distinct
        every_event.request_id,
        every_event.channel,
        every_event.address,
        {{ bare_number("every_event.recipient_id") }} as bare_number
    from every_event
    semi join jobs_of_several_lengths
        on
            every_event.request_id = jobs_of_several_lengths.request_id
            and every_event.channel = jobs_of_several_lengths.channel
    where every_event.address is not null and {{ is_padded("every_event.recipient_id") }}

),

numbered_ids as (

    select
        every_event.request_id,
        every_event.channel,
        every_event.address,
        padded_ids.bare_number,
        -- The most digits, without anything else where there is one.
        arg_max(
            every_event.recipient_id,
            (regexp_full_match(every_event.recipient_id, '[0-9]+'), length(every_event.recipient_id), every_event.recipient_id)
        ) as recipient_id
    from every_event
    inner join padded_ids
        on
            every_event.request_id = padded_ids.request_id
            and every_event.channel = padded_ids.channel
            and every_event.address = padded_ids.address
            and {{ bare_number("every_event.recipient_id") }} = padded_ids.bare_number
    group by all
    having count(distinct every_event.recipient_id) > 1

),

events as (

    select every_event.* replace (coalesce(numbered_ids.recipient_id, every_event.recipient_id) as recipient_id)
    from every_event
    left join numbered_ids
        on
            every_event.request_id = numbered_ids.request_id
            and every_event.channel = numbered_ids.channel
            and every_event.address = numbered_ids.address
            and {{ bare_number("every_event.recipient_id") }} = numbered_ids.bare_number

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
