{#
    No address was seen under more ids than a person has addresses: under more it is a desk's, or the ids are not of persons. Then an event that says
    the address only is tied to none of them (decisions G2 and G76).
#}
{% test one_address_has_few_ids(model) %}
with

looked_at as (

    select distinct
        channel,
        coalesce(number, address) as compared
    from {{ rows_to_test(model) }}
    where address is not null and recipient_id is not null

)

select
    addresses.channel,
    {{ hmac("coalesce(addresses.number, addresses.address)") }} as address_hash,
    count(distinct addresses.recipient_id) as ids
from {{ model }} as addresses
semi join looked_at
    on
        addresses.channel = looked_at.channel
        and coalesce(addresses.number, addresses.address) = looked_at.compared
group by addresses.channel, coalesce(addresses.number, addresses.address)
having count(distinct addresses.recipient_id) > {{ var("recipient_addresses_at_most") }}
{% endtest %}
