{#
    Every event, with one id for a number that is written in several ways: a spreadsheet takes the zeros from `00123`, so the person of that
    address has `123` in its rows, and is one all the same (decision G76). One row for an event.
#}
with

every_event as (

    select * from {{ ref("int_events") }}

),

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

)

select every_event.* replace (coalesce(numbered_ids.recipient_id, every_event.recipient_id) as recipient_id)
from every_event
left join numbered_ids
    on
        every_event.request_id = numbered_ids.request_id
        and every_event.channel = numbered_ids.channel
        and every_event.address = numbered_ids.address
        and {{ bare_number("every_event.recipient_id") }} = numbered_ids.bare_number
