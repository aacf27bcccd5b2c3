{# Every event with the key of the message it belongs to (decision G2). The address ends here. #}
with

events as (

    select * from {{ ref("int_keyed_events") }}

)

select
    request_id,
    channel,
    kind,
    event_at,
    event_date,
    activity_id,
    user_agent,
    url,
    link,
    link_name,
    link_host,
    is_microsite,
    service,
    category_key,
    category,
    class,
    counts_as,
    smtp_code,
    enhanced_status,
    recipient_key,
    address is not null as has_address,
    case when channel = 'email' then {{ address_domain("address") }} end as recipient_domain
from events
