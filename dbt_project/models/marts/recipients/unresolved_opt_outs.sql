{# Who asked to get nothing more and cannot be told: the event says no address, and the lake knows none of its recipient (decision G35). #}
{{ config(scope="whole", stats_columns=["channel", "evidence_at"]) }}

with

evidence as (

    select * from {{ scoped(ref("suppression_evidence")) }}

)

select
    activity_id,
    request_id,
    channel,
    recipient_id,
    suppression_reason,
    evidence_at,
    known_at
from evidence
where address is null
