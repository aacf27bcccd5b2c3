{#
    Which addresses each recipient id was seen with, whatever the job: so an opt-out that says an id only finds whom it is about (decision G35).
    Of text messages all addresses, with or without an id: so a number is found in each of its spellings. So is an e-mail address that is not
    written as it is compared. Only new rows of silver are read, and
    rows are added. Where an event comes late that was received before those known of its pair, rows are replaced, by buckets: what says which
    stands in Delta's log, so it names nobody.
#}
{{ config(
    scope="additions",
    stats_columns=["bucket", "first_received_at"],
    reads=["recipient_id", "email_address", "sms_address", "device_id", "received_at"],
    keys=["channel", "recipient_id", "address"],
    replaced_by="bucket",
) }}

with

events as (

    select * from {{ ref("int_events") }}

),

found as (

    select
        channel,
        recipient_id,
        spelling as address,
        case when channel = 'sms' or address <> spelling then address end as number,
        min(received_at) as first_received_at
    from events
    where spelling is not null and (recipient_id is not null or channel = 'sms' or address <> spelling)
    group by all

    union all

    -- What stands for no id is told once, without whose addresses it came with.
    select
        channel,
        placeholder_id as recipient_id,
        cast(null as varchar) as address,
        cast(null as varchar) as number,
        min(received_at) as first_received_at
    from events
    where placeholder_id is not null
    group by all

),

located as (

    select
        *,
        cast(md5_number_lower(concat_ws('|', channel, recipient_id, address)) % 1000 as bigint) as bucket
    from found

),

-- Empty in a full build. Looked through once, for what came.
met as (

    select known.*
    from {{ known_rows() }} as known
    semi join located
        on
            known.channel = located.channel
            and known.recipient_id is not distinct from located.recipient_id
            and known.address is not distinct from located.address

),

news as (

    select
        located.*,
        met.bucket is not null as is_known
    from located
    left join met
        on
            located.channel = met.channel
            and located.recipient_id is not distinct from met.recipient_id
            and located.address is not distinct from met.address
    where met.bucket is null or located.first_received_at < met.first_received_at

),

corrected as (

    select bool_or(is_known) as is_any_corrected
    from news

),

replaced as (

    select distinct news.bucket
    from news
    cross join corrected
    where corrected.is_any_corrected

),

kept as (

    select known.*
    from {{ known_rows() }} as known
    semi join replaced on known.bucket = replaced.bucket
    anti join news
        on
            known.bucket = news.bucket
            and known.channel = news.channel
            and known.recipient_id is not distinct from news.recipient_id
            and known.address is not distinct from news.address

)

select
    bucket,
    channel,
    recipient_id,
    address,
    number,
    first_received_at
from news

union all by name

select * from kept
