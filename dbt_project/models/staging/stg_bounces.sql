with

bounces as (

    select * from {{ scoped(source("silver", "bounces")) }}

)

select
    {{ message_event("bounces", channel="email", kind="failure", address="email_address") }},
    bounces.category,
    bounces.category_code,
    bounces.details,
    {{ smtp_code("bounces.details") }} as smtp_code,
    {{ enhanced_status("bounces.details") }} as enhanced_status
from bounces
