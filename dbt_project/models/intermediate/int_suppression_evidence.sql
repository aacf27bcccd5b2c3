{# What says that an address must get nothing more, and until when: a START takes back the STOPs before it (decision G34). #}
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
        evidence_at as event_at
    from {{ scoped(ref("suppression_evidence")) }}

),

texts as (

    select
        *,
        -- Of the same person, to the same number.
        min(case when takes_back then event_at end) over (
            partition by address, sent_to
            order by event_at
            range between interval '1 microsecond' following and unbounded following
        ) as lifted_at
    from evidence
    where reason = 'sms_stop'

)

select
    *,
    cast(null as timestamptz) as lifted_at
from evidence
where reason <> 'sms_stop'

union all by name

select * from texts
where not takes_back
