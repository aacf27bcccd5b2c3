{{ config(
    stats_columns=["request_id", "job_date"],
    stale_requests="select own.request_id from own inner join dim_jobs using (request_id) where own.maturity <> dim_jobs.maturity",
) }}

with

messages as (

    select * from {{ scoped(ref("fct_messages")) }}

),

jobs as (

    select * from {{ scoped(ref("dim_jobs")) }}

),

errors as (

    select * from {{ ref("stg_job_errors") }}

),

mailbox_providers as (

    select * from {{ ref("stg_mailbox_providers") }}

),

reporting_providers as (

    select distinct provider
    from mailbox_providers
    where reports_complaints

),

errors_of_jobs as (

    select
        request_id,
        count(*) as job_errors
    from errors
    group by all

),

job_messages as (

    select
        messages.*,
        messages.channel = 'email' and reporting_providers.provider is not null as reports_complaints
    from messages
    left join reporting_providers on messages.mailbox_provider = reporting_providers.provider
    where messages.request_id is not null

),

counts as (

    select
        request_id,
        channel,
        count(*) as targeted,
        count(*) filter (where is_accepted or outcome in ('bounced', 'bounced_after_delivery', 'deferred')) as attempted,
        count(*) filter (where is_accepted) as accepted,
        count(*) filter (where outcome in ('delivered', 'bounced_after_delivery')) as delivered,
        count(*) filter (where outcome = 'implied_delivery') as implied_delivered,
        count(*) filter (where outcome in ('bounced', 'bounced_after_delivery')) as bounced,
        count(*) filter (where outcome = 'bounced') as bounced_inband,
        count(*) filter (where outcome = 'bounced_after_delivery') as bounced_outofband,
        count(*) filter (where bounce_counts_as = 'hard') as hard_bounced,
        count(*) filter (where bounce_counts_as = 'soft') as soft_bounced,
        count(*) filter (where bounce_counts_as = 'block') as block_bounced,
        count(*) filter (where bounce_counts_as = 'undetermined') as undetermined_bounced,
        count(*) filter (where outcome = 'deferred') as deferred,
        count(*) filter (where outcome = 'suppressed') as suppressed,
        count(*) filter (where outcome = 'rejected') as rejected,
        count(*) filter (where outcome = 'render_failed') as render_failed,
        count(*) filter (where is_accepted and open_events > 0) as unique_openers,
        count(*) filter (where is_accepted and human_open_events > 0) as unique_human_openers,
        count(*) filter (where is_accepted and open_events > 0 and human_open_events = 0) as machine_only_openers,
        sum(open_events) as open_events,
        count(*) filter (where is_accepted and click_events > 0) as unique_clickers,
        count(*) filter (where is_accepted and human_click_events > 0) as unique_human_clickers,
        sum(click_events) as click_events,
        count(*) filter (where is_accepted and unsubscribe_events > 0) as unsubscribers,
        count(*) filter (where is_accepted and complaint_events > 0) as complainers,
        count(*) filter (where is_accepted and reports_complaints) as accepted_fbl,
        count(*) filter (where is_accepted and reports_complaints and complaint_events > 0) as complainers_fbl,
        count(*) filter (where is_accepted and human_open_events + human_click_events > 0) as human_engaged,
        quantile_cont(seconds_to_first_open, 0.5) filter (where is_accepted) as seconds_to_open_p50,
        quantile_cont(seconds_to_first_open, 0.9) filter (where is_accepted) as seconds_to_open_p90,
        quantile_cont(seconds_to_first_click, 0.5) filter (where is_accepted) as seconds_to_click_p50,
        quantile_cont(seconds_to_first_click, 0.9) filter (where is_accepted) as seconds_to_click_p90,
        min(first_delivered_at) as first_delivered_at,
        max(last_delivered_at) as last_delivered_at
    from job_messages
    group by all

),

-- A job that ended in errors before it had a message still shows, with zeros (decision G11).
counts_of_every_job as (

    select * from counts

    union all by name

    select
        errors_of_jobs.request_id,
        'none' as channel
    from errors_of_jobs
    anti join counts on errors_of_jobs.request_id = counts.request_id

)

{%- set counts = [
    "targeted", "attempted", "accepted", "delivered", "implied_delivered", "bounced", "bounced_inband", "bounced_outofband",
    "hard_bounced", "soft_bounced", "block_bounced", "undetermined_bounced", "deferred", "suppressed", "rejected",
    "render_failed", "unique_openers", "unique_human_openers", "machine_only_openers", "open_events", "unique_clickers",
    "unique_human_clickers", "click_events", "unsubscribers", "complainers", "accepted_fbl", "complainers_fbl",
] %}
{%- set rates = {
    "delivery_rate": ["accepted", "attempted"],
    "bounce_rate": ["bounced", "attempted"],
    "hard_bounce_rate": ["hard_bounced", "attempted"],
    "soft_bounce_rate": ["soft_bounced", "attempted"],
    "block_bounce_rate": ["block_bounced", "attempted"],
    "undetermined_bounce_rate": ["undetermined_bounced", "attempted"],
} %}
{%- set later_rates = {
    "outofband_rate": ["bounced_outofband", "delivered"],
    "suppression_rate": ["suppressed", "targeted"],
    "render_error_rate": ["render_failed", "targeted"],
    "open_rate": ["unique_openers", "accepted"],
    "click_rate": ["unique_clickers", "accepted"],
    "human_open_rate": ["unique_human_openers", "accepted"],
    "human_click_rate": ["unique_human_clickers", "accepted"],
    "click_to_open_rate": ["unique_human_clickers", "human_engaged"],
    "unsubscribe_rate": ["unsubscribers", "accepted"],
    "complaint_rate": ["complainers", "accepted"],
    "complaint_rate_fbl": ["complainers_fbl", "accepted_fbl"],
} %}

select
    totals.request_id,
    totals.channel,
    jobs.job_date,
    jobs.maturity,
    {% for count in counts -%}
    cast(coalesce(totals.{{ count }}, 0) as bigint) as {{ count }},
    {% endfor -%}
    coalesce(errors_of_jobs.job_errors, 0) as job_errors,
    {% for rate, parts in rates.items() -%}
    {{ ratio("totals." ~ parts[0], "totals." ~ parts[1]) }} as {{ rate }},
    {% endfor -%}
    case
        when jobs.maturity in ('engaging', 'final')
            then {{ ratio("(totals.bounced + totals.deferred)", "totals.attempted") }}
    end as settled_bounce_rate,
    {% for rate, parts in later_rates.items() -%}
    {{ ratio("totals." ~ parts[0], "totals." ~ parts[1]) }} as {{ rate }},
    {% endfor -%}
    totals.seconds_to_open_p50,
    totals.seconds_to_open_p90,
    totals.seconds_to_click_p50,
    totals.seconds_to_click_p90,
    {{ seconds_between("totals.first_delivered_at", "totals.last_delivered_at") }} as send_duration_seconds
from counts_of_every_job as totals
left join jobs on totals.request_id = jobs.request_id
left join errors_of_jobs on totals.request_id = errors_of_jobs.request_id
