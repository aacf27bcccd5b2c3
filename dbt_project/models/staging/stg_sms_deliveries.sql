with

sms_deliveries as (

    select * from {{ scoped(source("silver", "sms_deliveries")) }}

)

select
    {{ message_event("sms_deliveries", channel="sms", kind="delivery", address="sms_address") }}
from sms_deliveries
