{#
    The messages that were attempted after something said that their address must get nothing more (decision G36): one row for a request, channel
    and recipient, with what was known before the first attempt. It is made of `fct_messages`, of the addresses that their events say, and of the
    evidence against those, whose times count and not when the lake learned of it.
    The evidence may be of any job: `also_touched` finds the jobs with a message to an address whose evidence came or went, by each key that the
    address has anywhere, if the message was attempted after it. An opt-out of long ago that finds an address today so touches that recipient's
    jobs, and not all jobs since. What belongs to no job is looked at by its days.
#}
{%- set also_touched %}
    with changed as (
        select distinct channel, {{ compared_address("channel", "address") }} as compared_address, address_hash, evidence_at
        from changed_suppression_evidence
        where address is not null
    ),
    keys as (
        select channel, {{ key_of_hash("channel", "address_hash") }} as recipient_key
        from changed
        union
        select ties.channel, 'id:' || ties.recipient_id as recipient_key
        from recipient_addresses as ties
        semi join changed on ties.channel = changed.channel and coalesce(ties.number, ties.address) = changed.compared_address
    )
    select messages.request_id, cast(messages.first_attempted_at as date) as event_date
    from fct_messages as messages
    semi join keys on messages.channel = keys.channel and messages.recipient_key = keys.recipient_key
    where messages.first_attempted_at > (select min(evidence_at) from changed)
    union all
    select null as request_id, cast(first_attempted_at as date) as event_date
    from fct_messages
    where request_id is null and first_attempted_at > (select min(evidence_at) from changed)
{% endset %}
{{ config(
    stats_columns=["request_id", "first_attempted_at"],
    orphan_day="first_attempted_at",
    touched_by=["suppression_evidence", "recipient_addresses"],
    also_touched=also_touched,
) }}

-- `also_touched` reads it, and nothing else here.
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

-- Few events are of an address with evidence: the join with their messages comes after that.
message_addresses as (

    select distinct
        message_events.request_id,
        message_events.channel,
        message_events.recipient_key,
        events.address
    from events
    semi join evidence
        on
            events.channel = evidence.channel
            and events.address = evidence.compared_address
    inner join message_events
        on
            events.channel = message_events.channel
            and events.kind = message_events.kind
            and events.activity_id = message_events.activity_id

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

evidence_before_attempts as (

    select
        attempts.* exclude (address), -- noqa: RF02
        evidence.compared_address,
        evidence.address_hash,
        evidence.reason,
        evidence.event_at,
        evidence.activity_id
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

),

violations as (

    select
        request_id,
        channel,
        recipient_key,
        mailbox_provider,
        outcome,
        first_attempted_at,
        arg_min(address_hash, (event_at, activity_id, reason, compared_address)) as address_hash,
        list_sort(list(distinct reason)) as reasons,
        arg_min(reason, (event_at, activity_id, reason)) as first_reason,
        min(event_at) as first_evidence_at,
        max(event_at) as last_evidence_at,
        -- A message of two addresses meets an event about both of them twice, one of a number each of its spellings.
        count(distinct { event_at: event_at, activity_id: activity_id, reason: reason }) as evidence_events
    from evidence_before_attempts
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
