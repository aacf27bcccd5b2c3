with

spam_complaints as (

    select * from {{ scoped(source("silver", "spam_complaints")) }}

)

select
    {{ message_event("spam_complaints", channel="email", kind="complaint", address="email_address") }}
from spam_complaints
