with

mobile_push_render_errors as (

    select * from {{ scoped(source("silver", "mobile_push_render_errors")) }}

)

select
    {{ message_event("mobile_push_render_errors", channel="push", kind="render_error", address="device_id") }},
    mobile_push_render_errors.service
from mobile_push_render_errors
