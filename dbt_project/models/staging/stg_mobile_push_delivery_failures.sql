with

mobile_push_delivery_failures as (

    select * from {{ scoped(source("silver", "mobile_push_delivery_failures")) }}

)

select
    {{ message_event("mobile_push_delivery_failures", channel="push", kind="failure", address="device_id") }},
    mobile_push_delivery_failures.service,
    mobile_push_delivery_failures.category,
    mobile_push_delivery_failures.category_code
from mobile_push_delivery_failures
