{#
    The counts of messages (decisions G7 and G8), by name, each as the SQL of an aggregate over rows of `fct_messages` that also say whether the
    provider `reports_complaints`. Every aggregate of messages takes them from here, so that a name means the same wherever it appears.
#}
{% macro message_counts() %}
    {{ return({
        "targeted": "count(*)",
        "attempted": "count(*) filter (where is_accepted or outcome in ('bounced', 'bounced_after_delivery', 'deferred'))",
        "accepted": "count(*) filter (where is_accepted)",
        "delivered": "count(*) filter (where outcome in ('delivered', 'bounced_after_delivery'))",
        "implied_delivered": "count(*) filter (where outcome = 'implied_delivery')",
        "bounced": "count(*) filter (where outcome in ('bounced', 'bounced_after_delivery'))",
        "bounced_inband": "count(*) filter (where outcome = 'bounced')",
        "bounced_outofband": "count(*) filter (where outcome = 'bounced_after_delivery')",
        "hard_bounced": "count(*) filter (where bounce_counts_as = 'hard')",
        "soft_bounced": "count(*) filter (where bounce_counts_as = 'soft')",
        "block_bounced": "count(*) filter (where bounce_counts_as = 'block')",
        "undetermined_bounced": "count(*) filter (where bounce_counts_as = 'undetermined')",
        "deferred": "count(*) filter (where outcome = 'deferred')",
        "suppressed": "count(*) filter (where outcome = 'suppressed')",
        "rejected": "count(*) filter (where outcome = 'rejected')",
        "render_failed": "count(*) filter (where outcome = 'render_failed')",
        "unique_openers": "count(*) filter (where is_accepted and open_events > 0)",
        "unique_human_openers": "count(*) filter (where is_accepted and human_open_events > 0)",
        "machine_only_openers": "count(*) filter (where is_accepted and open_events > 0 and human_open_events = 0)",
        "open_events": "sum(open_events)",
        "unique_clickers": "count(*) filter (where is_accepted and click_events > 0)",
        "unique_human_clickers": "count(*) filter (where is_accepted and human_click_events > 0)",
        "click_events": "sum(click_events)",
        "human_engaged": "count(*) filter (where is_accepted and human_open_events + human_click_events > 0)",
        "unsubscribers": "count(*) filter (where is_accepted and unsubscribe_events > 0)",
        "complainers": "count(*) filter (where is_accepted and complaint_events > 0)",
        "accepted_fbl": "count(*) filter (where is_accepted and reports_complaints)",
        "complainers_fbl": "count(*) filter (where is_accepted and reports_complaints and complaint_events > 0)",
    }) }}
{% endmacro %}

{# The rates of those counts, by name: numerator and denominator. #}
{% macro message_rates() %}
    {{ return({
        "delivery_rate": ["accepted", "attempted"],
        "bounce_rate": ["bounced", "attempted"],
        "hard_bounce_rate": ["hard_bounced", "attempted"],
        "soft_bounce_rate": ["soft_bounced", "attempted"],
        "block_bounce_rate": ["block_bounced", "attempted"],
        "undetermined_bounce_rate": ["undetermined_bounced", "attempted"],
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
    }) }}
{% endmacro %}

{# What a metric leaves out that one might expect in it, by the metric; for a rate, by its denominator. #}
{% macro metric_exclusions() %}
    {{ return({
        "attempted": "Suppressed, rejected and not rendered messages: nobody tried to deliver them.",
        "accepted": "Messages that bounced, also those that did after their delivery.",
        "delivered": "Messages that are known to have arrived by an open, click, complaint or unsubscribe only.",
        "accepted_fbl": "Recipients at providers that report no complaints, such as Gmail, at domains that are not listed, and SMS and push.",
        "bounced": "Deferrals, suppressions and rejections; bounces before the last delivery or in its second.",
        "human_engaged": "Messages that only machines opened and clicked.",
        "unique_openers": "Messages that bounced, though they were opened.",
        "unique_clickers": "Messages that bounced, though they were clicked.",
        "unique_human_openers": "Opens by prefetching machines; messages that bounced.",
        "unique_human_clickers": "Clicks by scanners and bots; messages that bounced.",
    }) }}
{% endmacro %}

{# A share that is null where there is nothing to share: in DuckDB 5 / 0 is infinite. #}
{% macro ratio(numerator, denominator) -%}
    case when {{ denominator }} > 0 then cast({{ numerator }} as double) / {{ denominator }} end
{%- endmacro %}

{# Select list of the rates over a relation that has the counts. #}
{% macro select_rates(relation) -%}
    {%- for rate, parts in message_rates().items() -%}
    {{ ratio(relation ~ "." ~ parts[0], relation ~ "." ~ parts[1]) }} as {{ rate }}{{ ",\n    " if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{# Seconds from one time to another, never below 0, null where either is missing (decision G12). #}
{% macro seconds_between(started_at, ended_at) -%}
    case
        when {{ started_at }} is not null and {{ ended_at }} is not null
            then greatest(date_diff('microsecond', {{ started_at }}, {{ ended_at }}) / 1000000.0, 0.0)
    end
{%- endmacro %}

{#
    Lower end of the 95 % confidence interval of a share (Wilson's score interval), null where there is nothing to share: what the share
    is at least, unless luck was worse than one time in forty. 0 of any number is 0.
#}
{% macro wilson_low(successes, trials) -%}
    {%- set z = 1.959963984540054 -%}
    case
        when {{ trials }} > 0
            then greatest(
                (
                    {{ successes }} + {{ z * z / 2 }}
                    - {{ z }} * sqrt(
                        cast({{ successes }} as double) * ({{ trials }} - {{ successes }}) / {{ trials }} + {{ z * z / 4 }}
                    )
                ) / ({{ trials }} + {{ z * z }}),
                0
            )
    end
{%- endmacro %}

{# How a complaint rate is to be taken, of e-mail at providers that report complaints (decision G32); null where there is nothing to judge. #}
{% macro complaint_level(channel, complainers, accepted) -%}
    case
        when {{ channel }} <> 'email' or {{ accepted }} = 0 then null
        when {{ accepted }} < {{ var("complaint_minimum_accepted") }} then 'too_few'
        when {{ wilson_low(complainers, accepted) }} >= {{ var("complaint_act_rate") }} then 'act'
        when {{ wilson_low(complainers, accepted) }} >= {{ var("complaint_watch_rate") }} then 'watch'
        else 'none'
    end
{%- endmacro %}

{#
    The funnel of each UTC day by some columns of `domain_days`: counts, rates, and how its complaints are to be taken.
    A message that turns out to be older leaves its day (decision G30), where its job may have no other. It stood on a day of one of the
    job's events: so those are days to make anew, and a model of this depends on `job_metrics_daily`.
#}
{% macro funnel_of_days(by) -%}
with

job_days as (

    select * from {{ scoped(ref("domain_days")) }}

),

counts as (

    select
        event_date,
        channel,
        {% for column in by -%}
        {{ column }},
        {% endfor -%}
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
    {% for name in by + message_counts().keys() | list -%}
    counts.{{ name }},
    {% endfor -%}
    {{ select_rates("counts") }},
    {{ wilson_low("counts.complainers_fbl", "counts.accepted_fbl") }} as complaint_rate_low,
    {{ complaint_level("counts.channel", "counts.complainers_fbl", "counts.accepted_fbl") }} as complaint_level
from counts
{%- endmacro %}
