{# Every event with the key of the message it belongs to (decision G2). The address ends here. #}
with

events as (

    select
        *,
        -- A condition on one side of an outer join would turn it into a nested loop: what must not match is null.
        case when recipient_id is null then address end as loose_address
    from {{ ref("int_events") }}

),

addresses as (

    select
        request_id,
        channel,
        address,
        count(distinct recipient_id) as recipient_ids,
        min(recipient_id) as recipient_id,
        count(*) > count(recipient_id) as is_needed
    from events
    where request_id is not null and address is not null
    group by all

),

-- An address seen with one recipient id is that recipient's; seen with several it ties to none of them.
address_keys as (

    select
        request_id,
        channel,
        address,
        case
            when recipient_ids = 1 then 'id:' || recipient_id
            else case channel when 'push' then 'device' else channel end || ':' || {{ hmac("address") }}
        end as recipient_key
    from addresses
    where is_needed

)

select
    events.request_id,
    events.channel,
    events.kind,
    events.event_at,
    events.event_date,
    events.activity_id,
    events.user_agent,
    events.url,
    events.service,
    events.category_key,
    events.category,
    events.class,
    events.counts_as,
    case
        when events.request_id is null then 'activity:' || events.activity_id
        else coalesce('id:' || events.recipient_id, address_keys.recipient_key, 'activity:' || events.activity_id)
    end as recipient_key,
    events.address is not null as has_address,
    case
        when events.channel = 'email'
            then nullif(regexp_extract(events.address, '^[^@\s]+@([^@\s]+\.[^@\s]+)$', 1), '')
    end as recipient_domain
from events
left join address_keys
    on
        events.request_id = address_keys.request_id
        and events.channel = address_keys.channel
        and events.loose_address = address_keys.address
