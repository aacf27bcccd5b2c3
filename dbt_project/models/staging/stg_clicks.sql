with

clicks as (

    select * from {{ scoped(source("silver", "clicks")) }}

)

select
    {{ message_event("clicks", channel="email", kind="click", address="email_address") }},
    clicks.user_agent,
    clicks.url,
    coalesce(nullif(trim(clicks.url_id), ''), nullif(trim(clicks.url_name), ''), {{ link_place("clicks.url") }}) as link,
    nullif(trim(clicks.url_name), '') as link_name,
    {{ link_host("clicks.url") }} as link_host,
    coalesce(clicks.is_microsite, false) as is_microsite
from clicks
