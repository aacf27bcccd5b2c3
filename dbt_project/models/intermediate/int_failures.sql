{# Every failure of a message, sorted by what it counts as (decisions G3 and G4). #}
with

failures as (

    {% for table in failure_tables() -%}
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
        case when category_code is null then lower(trim(category)) end as category_name
    from failures

),

keyed as (

    select
        named.*,
        case
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
    case bounce_categories.counts_as
        when 'deferred' then 'deferral'
        when 'suppressed' then 'suppression'
        when 'rejected' then 'rejection'
        else 'bounce'
    end as kind,
    keyed.event_at,
    keyed.event_date,
    keyed.received_at,
    keyed.activity_id,
    keyed.recipient_id,
    keyed.placeholder_id,
    keyed.address,
    keyed.spelling,
    keyed.service,
    keyed.smtp_code,
    keyed.enhanced_status,
    keyed.details,
    keyed.category_key,
    nullif(trim(keyed.category), '') as category,
    coalesce(bounce_categories.class, 'unknown') as class,
    coalesce(bounce_categories.counts_as, 'undetermined') as counts_as
from keyed
left join bounce_categories
    on
        keyed.channel = bounce_categories.channel
        and keyed.category_key = bounce_categories.category_key
