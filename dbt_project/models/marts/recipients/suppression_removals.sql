{# The addresses that were on the list and are on it no more: a person took back what stood against them (decision G34). #}
{{ config(scope="whole", stats_columns=["channel", "taken_back_at", "removed_at"], keys=["channel", "address"], exported_by="removed_at") }}

with

evidence as (

    select * from {{ ref("int_suppression_evidence") }}

)

select
    channel,
    address,
    any_value(address_hash) as address_hash,
    list_sort(list(distinct reason)) as reasons,
    min(event_at) as first_evidence_at,
    max(event_at) as last_evidence_at,
    max(lifted_at) as taken_back_at,
    max(lift_known_at) as removed_at
from evidence
group by all
having bool_and(lifted_at is not null)
