with

bounces as (

    select
        *,
        {{ reason_words("details") }} as words,
        {{ local_part("email_address") }} as own
    from {{ scoped(source("silver", "bounces")) }}

),

named as (

    select
        * replace ({{ without_local_part("words", "own") }} as words),
        {{ local_names("own") }} as names
    from bounces

),

-- In steps, for what one step writes once the next reads several times.
nameless as (

    select * replace ({{ without_names("words", "names") }} as words)
    from named

)

select
    {{ message_event("nameless", channel="email", kind="failure", address="email_address") }},
    nameless.category,
    nameless.category_code,
    {{ smtp_code("nameless.details") }} as smtp_code,
    {{ enhanced_status("nameless.details") }} as enhanced_status,
    {{ reason_fingerprint("nameless.words") }} as reason_fingerprint
from nameless
