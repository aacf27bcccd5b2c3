{#
    Every event after which an address must get no more messages of its channel, and the texts that take such an event back (decisions G33 to G35).
    One row for an event and an address in one spelling. `int_evidence_events` says which events these are and `int_evidence_addresses` whose
    address each is about; here they are listed under every spelling that the lake knows of it, since that is what a sender removes.
    Where the lake learns of another address of an id, or of another spelling, a row is made anew though its job did not change: `also_touched`.
#}
{%- set also_touched %}
    select own.request_id, cast(own.evidence_at as date) as event_date
    from own
    semi join changed_recipient_addresses as changed on own.channel = changed.channel and own.recipient_id = changed.recipient_id
    where own.tied_by = 'recipient_id' or own.address is null
    union all
    select own.request_id, cast(own.evidence_at as date) as event_date
    from own
    semi join changed_recipient_addresses as changed
        on own.channel = changed.channel and {{ compared_address("own.channel", "own.address") }} = changed.number
{% endset %}
{{ config(
    stats_columns=["request_id", "evidence_at"],
    orphan_day="evidence_at",
    touched_by=["recipient_addresses"],
    also_touched=also_touched,
) }}

with

recipient_addresses as (

    select * from {{ scoped(ref("recipient_addresses")) }}
    where address is not null and number is not null

),

evidence as (

    select
        *,
        {{ compared_address("channel", "spelling") }} as compared_address
    from {{ ref("int_evidence_addresses") }}

),

compared_addresses as (

    select distinct
        channel,
        compared_address
    from evidence

),

-- `recipient_addresses` has what an address is compared by as its `number`, where that differs from the spelling; of phone numbers always.
other_spellings as (

    select
        recipient_addresses.channel,
        recipient_addresses.number as compared_address,
        recipient_addresses.address as spelling,
        min(recipient_addresses.first_received_at) as first_received_at
    from recipient_addresses
    semi join compared_addresses
        on
            recipient_addresses.channel = compared_addresses.channel
            and recipient_addresses.number = compared_addresses.compared_address
    group by all

),

spelled_evidence as (

    select * from evidence

    union all by name

    select
        evidence.* replace (
            other_spellings.spelling as spelling,
            case evidence.channel when 'sms' then 'number' else 'spelling' end as tied_by,
            greatest(evidence.known_at, other_spellings.first_received_at) as known_at
        )
    from evidence
    inner join other_spellings
        on
            evidence.channel = other_spellings.channel
            and evidence.compared_address = other_spellings.compared_address
            and evidence.spelling <> other_spellings.spelling

    union all by name

    -- Whoever removes an e-mail address has it in the one form, however the event writes it.
    select * replace (compared_address as spelling, 'spelling' as tied_by)
    from evidence
    where channel = 'email' and spelling <> compared_address

)

-- One event meets an address in more than one way where an id, a number or a job says it in more than one row.
select
    activity_id,
    request_id,
    channel,
    spelling as address,
    {{ hmac("any_value(compared_address)") }} as address_hash,
    any_value(case when reason <> 'sms_stop' then recipient_key end) as recipient_key,
    reason as suppression_reason,
    takes_back,
    sent_to,
    event_at as evidence_at,
    any_value(recipient_id) as recipient_id,
    arg_min(tied_by, (known_at, tied_by)) as tied_by,
    min(known_at) as known_at
from spelled_evidence
group by activity_id, request_id, channel, spelling, reason, takes_back, sent_to, event_at
