{#
    The evidence may be of any job, so a job is made anew too where a message of it was attempted after evidence that came or went.
#}
{{ config(
    stats_columns=["request_id", "first_attempted_at"],
    orphan_day="first_attempted_at",
    touched_by=["suppression_evidence"],
    also_touched="
        select request_id, cast(first_attempted_at as date) as event_date from fct_messages
        where first_attempted_at > (select min(evidence_at) from changed_suppression_evidence)
    ",
) }}

with

messages as (

    select * from {{ scoped(ref("fct_messages")) }}

),

events as (

    select * from {{ ref("int_events") }}

),

evidence as (

    select * from {{ ref("int_suppression_evidence") }}

),

-- Of all events those of an address that there is evidence of: few, and all that says whose the address is in a job.
events_of_addresses as (

    select
        events.request_id,
        events.channel,
        events.address,
        events.recipient_id,
        events.activity_id
    from events
    semi join evidence
        on
            events.channel = evidence.channel
            and events.address = evidence.address

),

addresses as (

    select
        request_id,
        channel,
        address,
        min(recipient_id) as first_recipient_id,
        max(recipient_id) as last_recipient_id
    from events_of_addresses
    where request_id is not null
    group by all

),

address_keys as (

    select
        request_id,
        channel,
        address,
        {{ key_of_address("channel", "address", "first_recipient_id", "last_recipient_id") }} as recipient_key
    from addresses

),

message_addresses as (

    select distinct
        events.request_id,
        events.channel,
        events.address,
        case
            when events.request_id is null then 'activity:' || events.activity_id
            else coalesce('id:' || events.recipient_id, address_keys.recipient_key)
        end as recipient_key
    from events_of_addresses as events
    left join address_keys
        on
            events.request_id = address_keys.request_id
            and events.channel = address_keys.channel
            and events.address = address_keys.address

),

attempts as (

    select
        messages.request_id,
        messages.channel,
        messages.recipient_key,
        messages.mailbox_provider,
        messages.outcome,
        messages.first_attempted_at,
        message_addresses.address
    from messages
    inner join message_addresses
        on
            messages.request_id is not distinct from message_addresses.request_id
            and messages.channel = message_addresses.channel
            and messages.recipient_key = message_addresses.recipient_key
    where messages.first_attempted_at is not null

),

violations as (

    select
        attempts.request_id,
        attempts.channel,
        attempts.recipient_key,
        attempts.mailbox_provider,
        attempts.outcome,
        attempts.first_attempted_at,
        arg_min(evidence.address_hash, (evidence.event_at, evidence.activity_id, evidence.reason, evidence.address)) as address_hash,
        list_sort(list(distinct evidence.reason)) as reasons,
        arg_min(evidence.reason, (evidence.event_at, evidence.activity_id, evidence.reason)) as first_reason,
        min(evidence.event_at) as first_evidence_at,
        max(evidence.event_at) as last_evidence_at,
        -- A message of two addresses meets an event about both of them twice.
        count(distinct {
            event_at: evidence.event_at,
            activity_id: evidence.activity_id,
            reason: evidence.reason
        }) as evidence_events
    from attempts
    inner join evidence
        on
            attempts.channel = evidence.channel
            and attempts.address = evidence.address
            and attempts.first_attempted_at > evidence.event_at
    where
        (evidence.lifted_at is null or evidence.lifted_at >= attempts.first_attempted_at)
        -- Its own answer cannot have kept the message from being sent, whichever of its events is missing.
        and not (
            attempts.request_id is not distinct from evidence.request_id
            and attempts.recipient_key is not distinct from evidence.recipient_key
        )
    group by all

)

select
    request_id,
    channel,
    recipient_key,
    mailbox_provider,
    address_hash,
    outcome,
    reasons,
    first_reason,
    first_evidence_at,
    last_evidence_at,
    evidence_events,
    first_attempted_at,
    {{ seconds_between("first_evidence_at", "first_attempted_at") }} as seconds_since_first_evidence
from violations
