{#
    The events after which an address must get no more messages of its channel (decision G33): failures that are final, what people asked for by an
    unsubscribe or a complaint, and their texts. A text that takes a STOP back is among them (decision G34). One row for an event, as silver has it.
#}
with

failures as (

    select * from {{ ref("int_failures") }}

),

bounce_categories as (

    select * from {{ ref("stg_bounce_categories") }}

),

sms_inbounds as (

    select * from {{ ref("stg_sms_inbounds") }}

),

final_failures as (

    select
        failures.*,
        case failures.channel
            when 'email' then 'hard_bounce'
            when 'push' then 'dead_push_token'
            else 'sms_invalid_address'
        end as reason
    from failures
    inner join bounce_categories
        on
            failures.channel = bounce_categories.channel
            and failures.category_key = bounce_categories.category_key
    -- Of e-mail not all that is permanent: MessageGears says which of it is to be removed.
    where case failures.channel when 'email' then bounce_categories.must_remove else bounce_categories.is_permanent end

),

opt_outs as (

    select * from {{ ref("stg_unsubscribes") }}
    union all by name
    select * from {{ ref("stg_spam_complaints") }}

),

-- A text is of the number that sent it: no recipient id says whose it is.
texts as (

    select
        * exclude (recipient_id), -- noqa: RF02
        'sms_stop' as reason,
        cast(null as varchar) as recipient_id,
        keyword = 'stop' as is_opt_out,
        keyword = 'start' as takes_back
    from sms_inbounds
    where keyword is not null

),

evidence as (

    select
        *,
        false as is_opt_out,
        false as takes_back,
        cast(null as varchar) as sent_to
    from final_failures

    union all by name

    select
        *,
        kind as reason,
        true as is_opt_out,
        false as takes_back
    from opt_outs

    union all by name

    select * from texts

)

select
    activity_id,
    request_id,
    channel,
    kind,
    recipient_id,
    address,
    spelling,
    event_at,
    received_at,
    reason,
    is_opt_out,
    takes_back,
    sent_to
from evidence
