with

bounces as (

    select
        *,
        {{ reason_words("details") }} as words
    from {{ scoped(source("silver", "bounces")) }}

)

select
    {{ message_event("bounces", channel="email", kind="failure", address="email_address") }},
    bounces.category,
    bounces.category_code,
    {{ smtp_code("bounces.details") }} as smtp_code,
    {{ enhanced_status("bounces.details") }} as enhanced_status,
    {{ reason_fingerprint("bounces.words", "bounces.email_address") }} as reason_fingerprint
from bounces
