{# Every event of a message. #}
with

failures as (

    select * from {{ ref("int_failures") }}

),

events as (

    {% for table in message_tables() if table not in failure_tables() -%}
    select * from {{ ref("stg_" ~ table) }}
    union all by name
    {% endfor -%}
    select * from failures

)

select
    request_id,
    channel,
    kind,
    event_at,
    event_date,
    received_at,
    activity_id,
    recipient_id,
    placeholder_id,
    address,
    spelling,
    user_agent,
    url,
    link,
    link_name,
    link_host,
    is_microsite,
    nullif(lower(trim(service)), '') as service,
    category_key,
    category,
    class,
    counts_as,
    smtp_code,
    enhanced_status
from events
