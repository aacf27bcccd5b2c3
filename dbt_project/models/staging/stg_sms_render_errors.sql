with

sms_render_errors as (

    select * from {{ scoped(source("silver", "sms_render_errors")) }}

)

select
    {{ message_event("sms_render_errors", channel="sms", kind="render_error", address="sms_address") }}
from sms_render_errors
