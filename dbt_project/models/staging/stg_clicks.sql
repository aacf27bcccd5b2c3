with

clicks as (

    select * from {{ scoped(source("silver", "clicks")) }}

)

select
    {{ message_event("clicks", channel="email", kind="click", address="email_address") }},
    clicks.user_agent,
    clicks.url,
    coalesce({{ link_label("clicks.url_id") }}, {{ link_label("clicks.url_name") }}, {{ link_place("clicks.url") }}) as link,
    {{ link_label("clicks.url_name") }} as link_name,
    {{ link_host("clicks.url") }} as link_host,
    coalesce(clicks.is_microsite, false) as is_microsite
from clicks
