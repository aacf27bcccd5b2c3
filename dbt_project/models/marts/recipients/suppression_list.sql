{#
    Whom to send nothing more, and why (decision G33): the evidence that nobody took back, one row for a channel and an address in one spelling.
#}
{{ config(
    scope="whole",
    stats_columns=["channel", "newest_reason_at", "last_evidence_at", "listed_at"],
    keys=["channel", "address"],
    exported_by="listed_at",
) }}

{%- set reasons = {
    "hard_bounce": "hard_bounced_at",
    "unsubscribe": "unsubscribed_at",
    "complaint": "complained_at",
    "sms_stop": "sms_stopped_at",
    "sms_invalid_address": "sms_invalid_at",
    "dead_push_token": "push_token_dead_at",
} %}

with

evidence as (

    select * from {{ ref("int_suppression_evidence") }}

),

addresses as (

    select
        channel,
        address,
        any_value(address_hash) as address_hash,
        list_sort(list(distinct reason)) as reasons,
        arg_min(reason, (event_at, activity_id, reason)) as first_reason,
        min(event_at) as first_evidence_at,
        max(event_at) as last_evidence_at,
        count(*) as evidence_events,
        -- In a struct, for a null is an answer: the latest evidence may belong to no job.
        arg_max({ request_id: request_id }, (event_at, activity_id, reason)) as latest,
    {% for reason, first_at in reasons.items() -%}
    min(event_at) filter (where reason = '{{ reason }}') as {{ first_at }},
    min(known_at) filter (where reason = '{{ reason }}') as {{ first_at }}_known{{ "," if not loop.last }}
    {% endfor %}
    from evidence
    -- What was started again does not stand.
    where lifted_at is null
    group by all

)

select
    channel,
    address,
    address_hash,
    reasons,
    first_reason,
    first_evidence_at,
    last_evidence_at,
    greatest({{ reasons.values() | join(", ") }}) as newest_reason_at,
    evidence_events,
    latest.request_id as last_request_id,
    {{ reasons.values() | join(",\n    ") }},
    greatest({{ reasons.values() | join("_known, ") }}_known) as listed_at
from addresses
