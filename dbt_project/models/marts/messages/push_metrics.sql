{{ config(stats_columns=["request_id"]) }}

with

messages as (

    select * from {{ scoped(ref("fct_messages")) }}
    where channel = 'push' and request_id is not null

),

bounce_categories as (

    select * from {{ ref("stg_bounce_categories") }}

),

counts as (

    select
        messages.request_id,
        messages.mailbox_provider as service,
        count(*) as targeted,
        count(*) filter (
            where messages.is_accepted or messages.outcome in ('bounced', 'bounced_after_delivery', 'deferred')
        ) as attempted,
        count(*) filter (where messages.is_accepted) as accepted,
        count(*) filter (where messages.outcome in ('bounced', 'bounced_after_delivery')) as bounced,
        count(*) filter (where messages.outcome = 'deferred') as deferred,
        count(*) filter (where messages.outcome = 'rejected') as rejected,
        count(*) filter (where messages.outcome = 'render_failed') as render_failed,
        count(*) filter (
            where messages.outcome in ('bounced', 'bounced_after_delivery') and bounce_categories.is_permanent
        ) as dead_tokens
    from messages
    left join bounce_categories
        on bounce_categories.channel = 'push' and messages.bounce_category_key = bounce_categories.category_key
    group by all

)

select
    *,
    {{ ratio("accepted", "attempted") }} as delivery_rate,
    {{ ratio("dead_tokens", "attempted") }} as dead_token_rate
from counts
