with

sms_delivery_failures as (

    select * from {{ scoped(source("silver", "sms_delivery_failures")) }}

)

select
    {{ message_event("sms_delivery_failures", channel="sms", kind="failure", address="sms_address") }},
    sms_delivery_failures.category,
    sms_delivery_failures.category_code
from sms_delivery_failures
