with

clicks as (

    select * from {{ scoped(source("silver", "clicks")) }}

)

{%- set own = link_person(email_address("nullif(lower(trim(clicks.email_address)), '')")) %}

select
    {{ message_event("clicks", channel="email", kind="click", address="email_address") }},
    clicks.user_agent,
    clicks.url,
    coalesce(
        {{ link_label("clicks.url_id", own) }},
        {{ link_label("clicks.url_name", own) }},
        {{ link_place("clicks.url", own) }}
    ) as link,
    {{ link_label("clicks.url_name", own) }} as link_name,
    {{ link_host("clicks.url") }} as link_host,
    coalesce(clicks.is_microsite, false) as is_microsite
from clicks
