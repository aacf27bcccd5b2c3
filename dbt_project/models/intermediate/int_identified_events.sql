{#
    Every event, without a recipient id that is nobody's: one that its job has for more addresses than a person has. Those events are told apart by
    their addresses (decision G70). One row for an event.
#}
with

events as (

    select * from {{ ref("int_renumbered_events") }}

),

-- In two steps: nearly all ids have one address, and hashes tell which have more. Two hashes that meet only add to what is counted next.
of_several as (

    select hash(request_id, channel, recipient_id) as id_hash
    from events
    where request_id is not null and recipient_id is not null and address is not null
    group by hash(request_id, channel, recipient_id)
    having min(hash(address)) <> max(hash(address))

),

shared_ids as (

    select
        events.request_id,
        events.channel,
        events.recipient_id
    from events
    where
        events.request_id is not null
        and hash(events.request_id, events.channel, events.recipient_id) in (select of_several.id_hash from of_several)
    group by all
    having count(distinct events.address) > {{ var("recipient_addresses_at_most") }}

)

select events.* replace (case when shared_ids.recipient_id is null then events.recipient_id end as recipient_id)
from events
left join shared_ids
    on
        events.request_id = shared_ids.request_id
        and events.channel = shared_ids.channel
        and events.recipient_id = shared_ids.recipient_id
