{#
    The evidence may be of any job, so those jobs are made anew too that have a message to an address whose evidence came or went: a message that
    was attempted after it, and whose key is one that the address has anywhere. An opt-out of long ago that finds an address today so touches
    that recipient's jobs, and not all jobs since. What belongs to no job is looked at by its days.
#}
{{ config(
    stats_columns=["request_id", "first_attempted_at"],
    orphan_day="first_attempted_at",
    touched_by=["suppression_evidence", "recipient_addresses"],
    also_touched="
        with changed as (
            select distinct channel, " ~ compared_address("channel", "address") ~ " as compared, address_hash, evidence_at
            from changed_suppression_evidence
            where address is not null
        ),
        keys as (
            select channel, " ~ key_of_hash("channel", "address_hash") ~ " as recipient_key from changed
            union
            select ties.channel, 'id:' || ties.recipient_id from recipient_addresses as ties
            semi join changed
            on ties.channel = changed.channel and coalesce(ties.number, ties.address) = changed.compared
        )
        select messages.request_id, cast(messages.first_attempted_at as date) as event_date
        from fct_messages as messages
        semi join keys on messages.channel = keys.channel and messages.recipient_key = keys.recipient_key
        where messages.first_attempted_at > (select min(evidence_at) from changed)
        union all
        select null, cast(first_attempted_at as date) as event_date
        from fct_messages
        where request_id is null and first_attempted_at > (select min(evidence_at) from changed)
    ",
) }}

-- What touches is read by the plan alone.
-- depends_on: {{ ref("recipient_addresses") }}

with

messages as (

    select * from {{ scoped(ref("fct_messages")) }}

),

events as (

    select * from {{ ref("int_events") }}

),

message_events as (

    select * from {{ scoped(ref("message_events")) }}

),

evidence as (

    select * from {{ ref("int_suppression_evidence") }}

),

-- Few events are of an address with evidence: the join with their keys follows.
addressed_events as (

    select
        events.channel,
        events.kind,
        events.activity_id,
        events.address
    from events
    semi join evidence
        on
            events.channel = evidence.channel
            and events.address = evidence.compared_address

),

message_addresses as (

    select distinct
        message_events.request_id,
        message_events.channel,
        addressed_events.address,
        message_events.recipient_key
    from addressed_events
    inner join message_events
        on
            addressed_events.channel = message_events.channel
            and addressed_events.kind = message_events.kind
            and addressed_events.activity_id = message_events.activity_id

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
        arg_min(
            evidence.address_hash, (evidence.event_at, evidence.activity_id, evidence.reason, evidence.compared_address)
        ) as address_hash,
        list_sort(list(distinct evidence.reason)) as reasons,
        arg_min(evidence.reason, (evidence.event_at, evidence.activity_id, evidence.reason)) as first_reason,
        min(evidence.event_at) as first_evidence_at,
        max(evidence.event_at) as last_evidence_at,
        -- A message of two addresses meets an event about both of them twice, one of a number each of its spellings.
        count(distinct {
            event_at: evidence.event_at,
            activity_id: evidence.activity_id,
            reason: evidence.reason
        }) as evidence_events
    from attempts
    inner join evidence
        on
            attempts.channel = evidence.channel
            and attempts.address = evidence.compared_address
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
