with

clicks as (

    select * from {{ scoped(source("silver", "clicks")) }}

)

select
    {{ message_event("clicks", channel="email", kind="click", address="email_address") }},
    clicks.user_agent,
    clicks.url
from clicks
