{#
    Every event after which an address must get no more messages of its channel, by the address, and the texts that take such an event back
    (decisions G33 to G35). Whose it is says the event, its job, or what the lake knows of its recipient id or phone number; where that changes,
    the row is made anew though its job did not change.
#}
{{ config(
    stats_columns=["request_id", "evidence_at"],
    orphan_day="evidence_at",
    touched_by=["recipient_addresses"],
    also_touched="
        select own.request_id, cast(own.evidence_at as date) as event_date
        from own semi join changed_recipient_addresses as changed on own.channel = changed.channel and own.recipient_id = changed.recipient_id
        where own.tied_by = 'recipient_id' or own.address is null
        union all
        select own.request_id, cast(own.evidence_at as date) as event_date
        from own semi join changed_recipient_addresses as changed
        on own.channel = changed.channel and " ~ compared_address("own.channel", "own.address") ~ " = changed.number
    ",
) }}

with

-- Events that can be evidence, with their addresses.
told as (

    select * from {{ ref("int_failures") }}
    union all by name
    select * from {{ ref("stg_unsubscribes") }}
    union all by name
    select * from {{ ref("stg_spam_complaints") }}

),

message_events as (

    select * from {{ scoped(ref("message_events")) }}

),

events as (

    select
        told.* exclude (recipient_id), -- noqa: RF02
        told.recipient_id as own_recipient_id,
        message_events.recipient_key,
        -- An id that the job has for more addresses than a person has is nobody's, and no key (decision G70).
        case
            when told.request_id is null or message_events.recipient_key = 'id:' || told.recipient_id then told.recipient_id
        end as recipient_id
    from told
    inner join message_events
        on
            told.channel = message_events.channel
            and told.kind = message_events.kind
            and told.activity_id = message_events.activity_id

),

every_event as (

    select * from {{ ref("int_events") }}

),

sms_inbounds as (

    select * from {{ ref("stg_sms_inbounds") }}

),

bounce_categories as (

    select * from {{ ref("stg_bounce_categories") }}

),

recipient_addresses as (

    select * from {{ scoped(ref("recipient_addresses")) }}
    where address is not null

),

final_failures as (

    select
        events.*,
        case events.channel
            when 'email' then 'hard_bounce'
            when 'push' then 'dead_push_token'
            else 'sms_invalid_address'
        end as reason
    from events
    inner join bounce_categories
        on
            events.channel = bounce_categories.channel
            and events.category_key = bounce_categories.category_key
    -- Of e-mail not all that is permanent: MessageGears says which of it is to be removed.
    where case events.channel when 'email' then bounce_categories.must_remove else bounce_categories.is_permanent end

),

evidence as (

    select
        *,
        false as asks_to_stop,
        false as takes_back,
        cast(null as varchar) as sent_to
    from final_failures

    union all by name

    select
        *,
        kind as reason,
        true as asks_to_stop,
        false as takes_back
    from events
    where kind in ('unsubscribe', 'complaint')

    union all by name

    select
        * exclude (recipient_id), -- noqa: RF02
        'sms_stop' as reason,
        keyword = 'stop' as asks_to_stop,
        keyword = 'start' as takes_back
    from sms_inbounds
    where keyword is not null

),

-- A failure is of an address: one that does not say it is of those that its recipient has in the job.
failures_without_address as (

    select distinct
        request_id,
        channel,
        recipient_id
    from evidence
    where address is null and not asks_to_stop and request_id is not null and recipient_id is not null

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

-- An opt-out is a person's: one that does not say an address is about all that its recipient id was ever seen with.
opted_out_ids as (

    select distinct
        channel,
        own_recipient_id as recipient_id
    from evidence
    where address is null and asks_to_stop and own_recipient_id is not null

),

addresses_of_ids as (

    select
        recipient_addresses.*,
        coalesce(recipient_addresses.number, recipient_addresses.address) as compared
    from recipient_addresses
    semi join opted_out_ids
        on
            recipient_addresses.channel = opted_out_ids.channel
            and recipient_addresses.recipient_id = opted_out_ids.recipient_id

),

ids_of_one_person as (

    select
        channel,
        recipient_id
    from addresses_of_ids
    group by all
    having count(distinct compared) <= {{ var("recipient_addresses_at_most") }}

),

tied as (

    select
        *,
        cast(null as varchar) as tied_by,
        received_at as known_at
    from evidence
    where address is not null

    union all by name

    select
        evidence.* replace (addresses_in_jobs.spelling as spelling),
        'job' as tied_by,
        greatest(evidence.received_at, addresses_in_jobs.first_received_at) as known_at
    from evidence
    inner join addresses_in_jobs
        on
            evidence.request_id = addresses_in_jobs.request_id
            and evidence.channel = addresses_in_jobs.channel
            and evidence.recipient_id = addresses_in_jobs.recipient_id
    where evidence.address is null and not evidence.asks_to_stop

    union all by name

    select
        evidence.* replace (addresses_of_ids.address as spelling),
        'recipient_id' as tied_by,
        greatest(evidence.received_at, addresses_of_ids.first_received_at) as known_at
    from evidence
    inner join addresses_of_ids
        on
            evidence.channel = addresses_of_ids.channel
            and evidence.own_recipient_id = addresses_of_ids.recipient_id
    semi join ids_of_one_person
        on
            evidence.channel = ids_of_one_person.channel
            and evidence.own_recipient_id = ids_of_one_person.recipient_id
    where evidence.address is null and evidence.asks_to_stop

),

compared as (

    select
        *,
        {{ compared_address("channel", "spelling") }} as compared
    from tied

),

-- A phone number or an e-mail address is about everybody who writes it, in whatever way.
numbers as (

    select distinct
        channel,
        compared
    from compared

),

spellings_of_numbers as (

    select
        recipient_addresses.channel,
        recipient_addresses.address,
        recipient_addresses.number as compared,
        min(recipient_addresses.first_received_at) as first_received_at
    from recipient_addresses
    semi join numbers
        on
            recipient_addresses.channel = numbers.channel
            and recipient_addresses.number = numbers.compared
    group by all

),

addressed as (

    select
        *,
        spelling as listed_address
    from compared

    union all by name

    select
        compared.* replace (
            case compared.channel when 'sms' then 'number' else 'spelling' end as tied_by,
            greatest(compared.known_at, spellings_of_numbers.first_received_at) as known_at
        ),
        spellings_of_numbers.address as listed_address
    from compared
    inner join spellings_of_numbers
        on
            compared.channel = spellings_of_numbers.channel
            and compared.compared = spellings_of_numbers.compared
            and compared.spelling <> spellings_of_numbers.address

    union all by name

    -- Whoever removes an e-mail address has it in the one form, however the event writes it.
    select
        * replace ('spelling' as tied_by),
        compared as listed_address
    from compared
    where channel = 'email' and spelling <> compared

    union all by name

    -- Of whom nobody knows the address, the opt-out stands all the same.
    select
        evidence.*,
        evidence.received_at as known_at
    from evidence
    anti join ids_of_one_person
        on
            evidence.channel = ids_of_one_person.channel
            and evidence.own_recipient_id = ids_of_one_person.recipient_id
    where evidence.address is null and evidence.asks_to_stop

)

-- One event meets an address in more than one way where an id, a number or a job says it in more than one row.
select
    activity_id,
    request_id,
    channel,
    listed_address as address,
    any_value({{ hmac("compared") }}) as address_hash,
    any_value(case when reason <> 'sms_stop' then recipient_key end) as recipient_key,
    reason as suppression_reason,
    takes_back,
    sent_to,
    event_at as evidence_at,
    any_value(own_recipient_id) as recipient_id,
    arg_min(tied_by, (known_at, tied_by)) as tied_by,
    min(known_at) as known_at
from addressed
group by activity_id, request_id, channel, listed_address, reason, takes_back, sent_to, event_at
