{{ config(scope="days", stats_columns=["event_date"]) }}

-- A message that turns out to be older leaves its day (decision G30), where its job may have no other. It stood on a day of one of the
-- job's events: so those are days to make anew. depends_on: {{ ref("job_metrics_daily") }}
with

job_days as (

    select * from {{ scoped(ref("domain_days")) }}

),

counts as (

    select
        event_date,
        channel,
        recipient_domain,
        mailbox_provider,
    {% for name in message_counts() -%}
    cast(sum({{ name }}) as bigint) as {{ name }}{{ "," if not loop.last }}
    {% endfor %}
    from job_days
    where {{ in_scope("event_date") }}
    group by all

)

select
    counts.event_date,
    counts.channel,
    counts.recipient_domain,
    counts.mailbox_provider,
    {% for name in message_counts() -%}
    counts.{{ name }},
    {% endfor -%}
    {{ select_rates("counts") }},
    {{ wilson_low("counts.complainers_fbl", "counts.accepted_fbl") }} as complaint_rate_low,
    {{ complaint_level("counts.channel", "counts.complainers_fbl", "counts.accepted_fbl") }} as complaint_level
from counts
