{#
    What says that an address must get nothing more, and until when: a START takes back the STOPs before it (decision G34). `lift_known_at` is
    when the lake had both.
#}
with

evidence as (

    select
        activity_id,
        request_id,
        channel,
        address,
        address_hash,
        recipient_key,
        suppression_reason as reason,
        takes_back,
        sent_to,
        evidence_at as event_at,
        known_at,
        {{ compared_address("channel", "address") }} as compared_address
    from {{ scoped(ref("suppression_evidence")) }}
    where address is not null

),

texts as (

    select
        *,
        -- Of the same person, to the same number.
        min(case when takes_back then event_at end) over later_texts as lifted_at,
        greatest(known_at, min(case when takes_back then known_at end) over later_texts) as lift_known_at
    from evidence
    where reason = 'sms_stop'
    window
        later_texts as (
            partition by address_hash, {{ phone_number("lower(sent_to)") }}
            order by event_at
            range between interval '1 microsecond' following and unbounded following
        )

)

select
    *,
    cast(null as timestamptz) as lifted_at,
    cast(null as timestamptz) as lift_known_at
from evidence
where reason <> 'sms_stop'

union all by name

select * from texts
where not takes_back
