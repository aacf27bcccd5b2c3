with

render_errors as (

    select * from {{ scoped(source("silver", "render_errors")) }}

)

select
    {{ message_event("render_errors", channel="email", kind="render_error", address="email_address") }}
from render_errors
