{#
    Every event after which an address must get no more messages of its channel, by the address, and the texts that take such an event back
    (decisions G33 to G35). One job says all of a row, so that it is made anew with its job alone.
#}
{{ config(stats_columns=["request_id", "evidence_at"], orphan_day="evidence_at") }}

with

failures as (

    select * from {{ ref("int_failures") }}

),

unsubscribes as (

    select * from {{ ref("stg_unsubscribes") }}

),

spam_complaints as (

    select * from {{ ref("stg_spam_complaints") }}

),

sms_inbounds as (

    select * from {{ ref("stg_sms_inbounds") }}

),

bounce_categories as (

    select * from {{ ref("stg_bounce_categories") }}

),

events as (

    select * from {{ ref("int_events") }}

),

final_failures as (

    select
        failures.*,
        case failures.channel
            when 'email' then 'hard_bounce'
            when 'push' then 'dead_push_token'
            else 'sms_invalid_address'
        end as reason
    from failures
    inner join bounce_categories
        on
            failures.channel = bounce_categories.channel
            and failures.category_key = bounce_categories.category_key
    -- Of e-mail not all that is permanent: MessageGears says which of it is to be removed.
    where case failures.channel when 'email' then bounce_categories.must_remove else bounce_categories.is_permanent end

),

evidence as (

    {% set sources = {
        "final_failures": "reason",
        "unsubscribes": "'unsubscribe'",
        "spam_complaints": "'complaint'",
    } -%}
    {% for source, reason in sources.items() -%}
    select
        request_id,
        channel,
        recipient_id,
        address,
        {{ reason }} as reason,
        false as takes_back,
        cast(null as varchar) as sent_to,
        event_at,
        activity_id
    from {{ source }}
    union all
    {% endfor -%}
    select
        request_id,
        channel,
        null as recipient_id, -- what a person sends in is no answer of a message
        address,
        'sms_stop' as reason,
        keyword = 'start' as takes_back,
        sent_to,
        event_at,
        activity_id
    from sms_inbounds
    where keyword is not null

),

-- Where the event does not say the address, its job does: of the same recipient.
without_address as (

    select distinct
        request_id,
        channel,
        recipient_id
    from evidence
    where address is null and request_id is not null and recipient_id is not null

),

addresses_of_recipients as (

    select distinct
        events.request_id,
        events.channel,
        events.recipient_id,
        events.address
    from events
    semi join without_address
        on
            events.request_id = without_address.request_id
            and events.channel = without_address.channel
            and events.recipient_id = without_address.recipient_id
    where events.address is not null

),

addressed as (

    select * from evidence
    where address is not null

    union all by name

    select evidence.* replace (addresses.address as address)
    from evidence
    inner join addresses_of_recipients as addresses
        on
            evidence.request_id = addresses.request_id
            and evidence.channel = addresses.channel
            and evidence.recipient_id = addresses.recipient_id
    where evidence.address is null

),

-- Where the event does not say the recipient, its job does: whom it knows by the address.
without_recipient as (

    select distinct
        request_id,
        channel,
        address
    from addressed
    where recipient_id is null and request_id is not null and reason <> 'sms_stop'

),

recipients_of_addresses as (

    select
        events.request_id,
        events.channel,
        events.address,
        min(events.recipient_id) as first_recipient_id,
        max(events.recipient_id) as last_recipient_id
    from events
    semi join without_recipient
        on
            events.request_id = without_recipient.request_id
            and events.channel = without_recipient.channel
            and events.address = without_recipient.address
    group by all

),

recipient_keys as (

    select
        request_id,
        channel,
        address,
        {{ key_of_address("channel", "address", "first_recipient_id", "last_recipient_id") }} as recipient_key
    from recipients_of_addresses

)

select
    addressed.activity_id,
    addressed.request_id,
    addressed.channel,
    addressed.address,
    {{ hmac("addressed.address") }} as address_hash,
    case
        when addressed.reason = 'sms_stop' then null
        when addressed.request_id is null then 'activity:' || addressed.activity_id
        else coalesce('id:' || addressed.recipient_id, recipient_keys.recipient_key)
    end as recipient_key,
    addressed.reason as suppression_reason,
    addressed.takes_back,
    addressed.sent_to,
    addressed.event_at as evidence_at
from addressed
left join recipient_keys
    on
        addressed.request_id = recipient_keys.request_id
        and addressed.channel = recipient_keys.channel
        and addressed.address = recipient_keys.address
