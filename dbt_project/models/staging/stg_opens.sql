with

opens as (

    select * from {{ scoped(source("silver", "opens")) }}

)

select
    {{ message_event("opens", channel="email", kind="open", address="email_address") }},
    opens.user_agent
from opens
