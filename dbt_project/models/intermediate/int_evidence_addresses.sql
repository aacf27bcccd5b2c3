{#
    Whose address the events of `int_evidence_events` are about (decision G35): the event's own; else of a failure those that its recipient has in
    the job, and of an opt-out those that its recipient id was ever seen with. One row for an event and an address (`spelling`), and one without
    for an opt-out of nobody that the lake knows. `known_at` is when the lake had the event and the address.
#}
with

evidence as (

    select * from {{ ref("int_evidence_events") }}

),

message_events as (

    select * from {{ scoped(ref("message_events")) }}

),

every_event as (

    select * from {{ ref("int_events") }}

),

recipient_addresses as (

    select * from {{ scoped(ref("recipient_addresses")) }}
    where address is not null

),

-- Inbound texts belong to no message.
keyed_evidence as (

    select
        evidence.*,
        message_events.recipient_key
    from evidence
    inner join message_events
        on
            evidence.channel = message_events.channel
            and evidence.kind = message_events.kind
            and evidence.activity_id = message_events.activity_id

    union all by name

    select * from evidence
    where kind = 'inbound'

),

-- What is to be looked up is taken from `evidence`, not from its join above. DuckDB takes a join for as large as its largest table, and
-- would make the hash tables of the two semi joins of every event and every address in the lake: 1.1 s of CPU of 1.5, in a million events.
failures_without_address as (

    select distinct
        request_id,
        channel,
        recipient_id
    from evidence
    where address is null and not is_opt_out and request_id is not null and recipient_id is not null

),

opt_outs_without_address as (

    select distinct
        channel,
        recipient_id
    from evidence
    where address is null and is_opt_out and recipient_id is not null

),

addresses_in_jobs as (

    select
        every_event.request_id,
        every_event.channel,
        every_event.recipient_id,
        every_event.spelling,
        min(every_event.received_at) as first_received_at
    from every_event
    semi join failures_without_address
        on
            every_event.request_id = failures_without_address.request_id
            and every_event.channel = failures_without_address.channel
            and every_event.recipient_id = failures_without_address.recipient_id
    where every_event.spelling is not null
    group by all

),

-- An id that was seen with more addresses than a person has is nobody's.
addresses_of_persons as (

    select
        recipient_addresses.channel,
        recipient_addresses.recipient_id,
        recipient_addresses.address,
        recipient_addresses.first_received_at
    from recipient_addresses
    semi join opt_outs_without_address
        on
            recipient_addresses.channel = opt_outs_without_address.channel
            and recipient_addresses.recipient_id = opt_outs_without_address.recipient_id
    qualify
        count(distinct coalesce(recipient_addresses.number, recipient_addresses.address)) over (
            partition by recipient_addresses.channel, recipient_addresses.recipient_id
        ) <= {{ var("recipient_addresses_at_most") }}

)

select
    *,
    cast(null as varchar) as tied_by,
    received_at as known_at
from keyed_evidence
where address is not null

union all by name

select
    evidence.* replace (addresses_in_jobs.spelling as spelling),
    'job' as tied_by,
    greatest(evidence.received_at, addresses_in_jobs.first_received_at) as known_at
from keyed_evidence as evidence
inner join addresses_in_jobs
    on
        evidence.request_id = addresses_in_jobs.request_id
        and evidence.channel = addresses_in_jobs.channel
        and evidence.recipient_id = addresses_in_jobs.recipient_id
where
    evidence.address is null
    and not evidence.is_opt_out
    -- An id that the job has for more addresses than a person has is nobody's, and no key (decision G70).
    and evidence.recipient_key = 'id:' || evidence.recipient_id

union all by name

-- Of whom nobody knows the address, the opt-out stands all the same.
select
    evidence.* replace (addresses_of_persons.address as spelling),
    case when addresses_of_persons.address is not null then 'recipient_id' end as tied_by,
    greatest(evidence.received_at, addresses_of_persons.first_received_at) as known_at
from keyed_evidence as evidence
left join addresses_of_persons
    on
        evidence.channel = addresses_of_persons.channel
        and evidence.recipient_id = addresses_of_persons.recipient_id
where evidence.address is null and evidence.is_opt_out
