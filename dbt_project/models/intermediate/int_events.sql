{# Every event of a message, with failures sorted by what they count as (decisions G3 and G4). #}
with

events as (

    {% for table in message_tables() -%}
    select * from {{ ref("stg_" ~ table) }}
    {% if not loop.last %}union all by name{% endif %}
    {% endfor %}

),

bounce_categories as (

    select * from {{ ref("stg_bounce_categories") }}

),

-- Feeds of version 3.0 carry the name of a category only.
category_names as (

    select
        channel,
        category_key,
        lower(category) as category_name
    from bounce_categories
    where channel = 'email'

),

named as (

    select
        *,
        case when kind = 'failure' and category_code is null then lower(trim(category)) end as category_name
    from events

),

keyed as (

    select
        named.*,
        case
            when named.kind <> 'failure' then null
            when named.channel = 'email'
                then
                    coalesce(
                        cast(named.category_code as varchar),
                        category_names.category_key,
                        nullif(trim(named.category), ''),
                        '(none)'
                    )
            else coalesce(
                nullif(upper(trim(named.category)), ''),
                cast(named.category_code as varchar),
                '(none)'
            )
        end as category_key
    from named
    left join category_names
        on
            named.channel = category_names.channel
            and named.category_name = category_names.category_name

)

select
    keyed.request_id,
    keyed.channel,
    keyed.event_at,
    keyed.event_date,
    keyed.activity_id,
    keyed.recipient_id,
    keyed.address,
    keyed.user_agent,
    keyed.url,
    nullif(lower(trim(keyed.service)), '') as service,
    keyed.category_key,
    nullif(trim(keyed.category), '') as category,
    case when keyed.kind = 'failure' then coalesce(bounce_categories.class, 'unknown') end as class,
    case when keyed.kind = 'failure' then coalesce(bounce_categories.counts_as, 'undetermined') end as counts_as,
    case
        when keyed.kind <> 'failure' then keyed.kind
        when bounce_categories.counts_as = 'deferred' then 'deferral'
        when bounce_categories.counts_as = 'suppressed' then 'suppression'
        when bounce_categories.counts_as = 'rejected' then 'rejection'
        else 'bounce'
    end as kind
from keyed
left join bounce_categories
    on
        keyed.channel = bounce_categories.channel
        and keyed.category_key = bounce_categories.category_key
