with

bounces as (

    select * from {{ scoped(source("silver", "bounces")) }}

)

select
    {{ message_event("bounces", channel="email", kind="failure", address="email_address") }},
    bounces.category,
    bounces.category_code
from bounces
