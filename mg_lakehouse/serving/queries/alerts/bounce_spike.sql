-- The hard and block bounces of each day and mailbox provider, beside the rate of the days before and the job with the most of them.
with

days as (

    select
        event_date,
        mailbox_provider,
        attempted,
        unnest(['hard', 'block']) as kind,
        unnest([hard_bounced, block_bounced]) as bounced
    from mailbox_provider_daily
    where
        channel = 'email'
        and event_date >= cast($since as date) - cast($usual_days as integer)

),

usual as (

    select
        days.event_date,
        days.mailbox_provider,
        days.kind,
        sum(days_before.bounced) as bounced,
        sum(days_before.attempted) as attempted
    from days
    inner join days as days_before
        on
            days.mailbox_provider = days_before.mailbox_provider
            and days.kind = days_before.kind
            and days_before.event_date between days.event_date - cast($usual_days as integer) and days.event_date - 1
    group by all

),

bounces_of_jobs as (

    select
        event_date,
        mailbox_provider,
        counts_as,
        request_id,
        sum(messages) as messages
    from bounce_days
    where
        channel = 'email'
        and request_id is not null
        and event_date >= cast($since as date)
    group by all

),

worst_jobs as (

    select
        event_date,
        mailbox_provider,
        counts_as as kind,
        arg_max(request_id, (messages, request_id)) as request_id
    from bounces_of_jobs
    group by all

)

select
    days.*,
    usual.bounced as usual_bounced,
    usual.attempted as usual_attempted,
    worst_jobs.request_id
from days
left join usual
    on
        days.event_date = usual.event_date
        and days.mailbox_provider = usual.mailbox_provider
        and days.kind = usual.kind
left join worst_jobs
    on
        days.event_date = worst_jobs.event_date
        and days.mailbox_provider = worst_jobs.mailbox_provider
        and days.kind = worst_jobs.kind
where
    days.event_date >= cast($since as date)
    and days.attempted >= $messages
