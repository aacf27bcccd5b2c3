{#
    Every event after which an address must get no more messages of its channel, by the address (decisions G33 to G35). A text message that
    stops others is undone by one that starts them again: `lifted_at` says when.
#}
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

sms_keywords as (

    select
        *,
        -- The next message that starts again what this one stops: from the same person to the same number.
        min(case when keyword = 'start' then event_at end) over (
            partition by address, sent_to
            order by event_at
            range between interval '1 microsecond' following and unbounded following
        ) as lifted_at
    from sms_inbounds
    where keyword is not null

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
        event_at,
        cast(null as timestamptz) as lifted_at,
        activity_id
    from {{ source }}
    union all
    {% endfor -%}
    select
        request_id,
        channel,
        recipient_id,
        address,
        'sms_stop' as reason,
        event_at,
        lifted_at,
        activity_id
    from sms_keywords
    where keyword = 'stop'

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

addresses as (

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

)

select
    channel,
    address,
    reason,
    event_at,
    lifted_at,
    activity_id,
    request_id,
    recipient_id
from evidence
where address is not null

union all

select
    evidence.channel,
    addresses.address,
    evidence.reason,
    evidence.event_at,
    evidence.lifted_at,
    evidence.activity_id,
    evidence.request_id,
    evidence.recipient_id
from evidence
inner join addresses
    on
        evidence.request_id = addresses.request_id
        and evidence.channel = addresses.channel
        and evidence.recipient_id = addresses.recipient_id
where evidence.address is null
