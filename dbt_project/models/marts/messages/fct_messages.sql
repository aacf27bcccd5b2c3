{#
    What became of each message, from all of its events at once (decision G5): one row for a request, channel and recipient, and for an event
    without a request. Failures stay in a list until the outcome is known, which says which of them decided.
#}
{{ config(stats_columns=["request_id", "first_event_at", "last_event_at"], orphan_day="first_event_at", change_feed=false) }}

with

events as (

    select * from {{ scoped(ref("message_events")) }}

),

mailbox_providers as (

    select * from {{ ref("stg_mailbox_providers") }}

),

messages as (

    select
        request_id,
        channel,
        recipient_key,
        -- The address and the service of the earliest event that has one, readable or not.
        arg_min({ domain: recipient_domain }, (event_at, activity_id)) filter (where has_address) as earliest_address,
        arg_min(service, (event_at, activity_id)) filter (where service is not null) as earliest_service,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at,
        min(event_at) filter (where kind in ('delivery', 'bounce', 'deferral')) as first_attempted_at,
        min(event_at) filter (where kind = 'delivery') as first_delivered_at,
        max(event_at) filter (where kind = 'delivery') as last_delivered_at,
        min(event_at) filter (where kind = 'bounce') as first_bounced_at,
        max(event_at) filter (where kind = 'bounce') as last_bounced_at,
        min(event_at) filter (where kind = 'deferral') as first_deferred_at,
        min(event_at) filter (where kind = 'render_error') as render_failed_at,
        min(event_at) filter (where kind = 'open') as first_opened_at,
        max(event_at) filter (where kind = 'open') as last_opened_at,
        min(event_at) filter (where kind = 'open' and is_human) as first_human_opened_at,
        min(event_at) filter (where kind = 'click') as first_clicked_at,
        max(event_at) filter (where kind = 'click') as last_clicked_at,
        min(event_at) filter (where kind = 'click' and is_human) as first_human_clicked_at,
        min(event_at) filter (where kind = 'unsubscribe') as unsubscribed_at,
        min(event_at) filter (where kind = 'complaint') as complained_at,
        count(*) filter (where kind = 'delivery') as delivery_events,
        count(*) filter (where kind = 'bounce') as bounce_events,
        count(*) filter (where kind = 'deferral') as deferral_events,
        count(*) filter (where kind = 'suppression') as suppression_events,
        count(*) filter (where kind = 'rejection') as rejection_events,
        count(*) filter (where kind = 'render_error') as render_error_events,
        count(*) filter (where kind = 'open') as open_events,
        count(*) filter (where kind = 'open' and is_human) as human_open_events,
        count(*) filter (where kind = 'click') as click_events,
        count(*) filter (where kind = 'click' and is_human) as human_click_events,
        count(*) filter (where kind = 'unsubscribe') as unsubscribe_events,
        count(*) filter (where kind = 'complaint') as complaint_events,
        flatten(coalesce(list(machine_reasons) filter (where len(machine_reasons) > 0), [])) as machine_reasons,
        -- Made distinct message by message: a distinct aggregate keeps a table of all messages of its own.
        coalesce(list(event_date) filter (where kind in ('delivery', 'bounce', 'deferral')), []) as attempts,
        coalesce(list(event_date) filter (where kind in ('suppression', 'rejection', 'render_error')), []) as others_sent,
        -- Ordered so that the greatest is the one that decides (decision G5).
        list({
            kind: kind,
            severity: case counts_as when 'hard' then 4 when 'block' then 3 when 'soft' then 2 else 1 end,
            event_at: event_at,
            activity_id: activity_id,
            category_key: category_key,
            class: class,
            counts_as: counts_as,
            smtp_code: smtp_code,
            enhanced_status: enhanced_status
        }) filter (where category_key is not null) as failures
    from events
    group by all

),

bounces as (

    select
        *,
        -- What bounced before the last delivery, or within its second, is no bounce of the message.
        list_max(
            list_filter(
                failures,
                lambda failure: failure.kind = 'bounce'
                and (last_delivered_at is null or failure.event_at > last_delivered_at)
            )
        ) as bounce
    from messages

),

outcomes as (

    select
        *,
        case
            when delivery_events > 0 and bounce is not null then 'bounced_after_delivery'
            when delivery_events > 0 then 'delivered'
            when bounce is not null then 'bounced'
            when open_events + click_events + complaint_events + unsubscribe_events > 0 then 'implied_delivery'
            when suppression_events > 0 then 'suppressed'
            when rejection_events > 0 then 'rejected'
            when render_error_events > 0 then 'render_failed'
            else 'deferred'
        end as outcome
    from bounces

),

deciding as (

    select
        *,
        case outcome
            when 'bounced_after_delivery' then bounce
            when 'bounced' then bounce
            when 'suppressed' then list_max(list_filter(failures, lambda failure: failure.kind = 'suppression'))
            when 'rejected' then list_max(list_filter(failures, lambda failure: failure.kind = 'rejection'))
            when 'deferred' then list_max(list_filter(failures, lambda failure: failure.kind = 'deferral'))
        end as failure
    from outcomes

)

select
    deciding.request_id,
    deciding.channel,
    deciding.recipient_key,
    deciding.outcome,
    deciding.outcome in ('delivered', 'implied_delivery') as is_accepted,
    deciding.failure.category_key as bounce_category_key,
    deciding.failure.class as bounce_class,
    deciding.failure.counts_as as bounce_counts_as,
    deciding.failure.event_at as bounced_at,
    deciding.failure.smtp_code,
    deciding.failure.enhanced_status,
    deciding.earliest_address.domain as recipient_domain,
    case deciding.channel
        when 'sms' then 'sms'
        when 'push' then coalesce(deciding.earliest_service, 'unknown')
        else {{ mailbox_provider("deciding.earliest_address.domain", "mailbox_providers.provider") }}
    end as mailbox_provider,
    deciding.first_event_at,
    deciding.last_event_at,
    deciding.first_attempted_at,
    deciding.first_delivered_at,
    deciding.last_delivered_at,
    deciding.first_bounced_at,
    deciding.last_bounced_at,
    deciding.first_deferred_at,
    deciding.render_failed_at,
    deciding.first_opened_at,
    deciding.last_opened_at,
    deciding.first_human_opened_at,
    deciding.first_clicked_at,
    deciding.last_clicked_at,
    deciding.first_human_clicked_at,
    deciding.unsubscribed_at,
    deciding.complained_at,
    {{ seconds_between("deciding.first_delivered_at", "deciding.first_opened_at") }} as seconds_to_first_open,
    {{ seconds_between("deciding.first_delivered_at", "deciding.first_clicked_at") }} as seconds_to_first_click,
    deciding.delivery_events,
    deciding.bounce_events,
    deciding.deferral_events,
    deciding.suppression_events,
    deciding.rejection_events,
    deciding.render_error_events,
    deciding.open_events,
    deciding.human_open_events,
    deciding.click_events,
    deciding.human_click_events,
    deciding.unsubscribe_events,
    deciding.complaint_events,
    {{ distinct_sorted("deciding.machine_reasons") }} as machine_reasons,
    cast({{ var("machine_rules_version") }} as bigint) as machine_rules_version,
    {{ distinct_sorted("deciding.attempts") }} as attempt_dates,
    {{ distinct_sorted("deciding.attempts || deciding.others_sent") }} as send_dates
from deciding
left join mailbox_providers on deciding.earliest_address.domain = mailbox_providers.domain
