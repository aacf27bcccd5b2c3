with

mobile_push_deliveries as (

    select * from {{ scoped(source("silver", "mobile_push_deliveries")) }}

)

select
    {{ message_event("mobile_push_deliveries", channel="push", kind="delivery", address="device_id") }},
    mobile_push_deliveries.service
from mobile_push_deliveries
