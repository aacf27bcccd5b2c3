with

sms_inbounds as (

    select * from {{ scoped(source("silver", "sms_inbounds")) }}

)

select
    {{ message_event("sms_inbounds", channel="sms", kind="inbound", address="sms_address") }},
    trim(sms_inbounds.destination_sms_number) as sent_to,
    {{ sms_inbound_type("sms_inbounds.inbound_message_type", "sms_inbounds.inbound_message") }} as inbound_type,
    {{ sms_keyword("sms_inbounds.inbound_message_type", "sms_inbounds.inbound_message") }} as keyword
from sms_inbounds
