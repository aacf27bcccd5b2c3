with

deliveries as (

    select * from {{ scoped(source("silver", "deliveries")) }}

)

select
    {{ message_event("deliveries", channel="email", kind="delivery", address="email_address") }}
from deliveries
