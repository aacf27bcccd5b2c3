{#
    Every recipient id stands for a person: it is none of the words that a system writes where it has none, and was seen with no more addresses
    than a person has. One that fails ties no addresses to each other and merges no messages (decision G70).
#}
{% test recipient_ids_name_one_person(model) %}
with

looked_at as (

    select distinct
        channel,
        recipient_id
    from {{ rows_to_test(model) }}
    where recipient_id is not null

)

select
    addresses.channel,
    addresses.recipient_id,
    count(distinct coalesce(addresses.number, addresses.address)) as addresses
from {{ model }} as addresses
semi join looked_at
    on
        addresses.channel = looked_at.channel
        and addresses.recipient_id = looked_at.recipient_id
group by addresses.channel, addresses.recipient_id
having bool_or(addresses.address is null) or count(distinct coalesce(addresses.number, addresses.address)) > {{ var("recipient_addresses_at_most") }}
{% endtest %}
