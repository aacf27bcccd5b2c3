with

unsubscribes as (

    select * from {{ scoped(source("silver", "unsubscribes")) }}

)

select
    {{ message_event("unsubscribes", channel="email", kind="unsubscribe", address="email_address") }}
from unsubscribes
