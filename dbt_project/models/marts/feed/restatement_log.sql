{#
    What refreshes changed in numbers that were already published (decision G60): one row for a build, a table's key and a metric.
    The change feeds of the tables say what their rows were and are, in whatever number of commits.
#}
{{ config(scope="changes", stats_columns=["build_id", "logged_at"]) }}

{%- set of_delivery = [
    "targeted", "attempted", "accepted", "delivered", "implied_delivered", "bounced", "bounced_outofband", "hard_bounced", "soft_bounced",
    "block_bounced", "undetermined_bounced", "deferred", "suppressed", "rejected", "render_failed",
] %}
{%- set of_engagement = [
    "unique_openers", "unique_human_openers", "open_events", "unique_clickers", "unique_human_clickers", "click_events", "unsubscribers",
    "complainers",
] %}
{#- By table: its key, and by metric the condition under which the number was published. -#}
{%- set settled_job, final_job = "was.maturity in ('engaging', 'final')", "was.maturity = 'final'" %}
{%- set day_ended = "timezone('UTC', cast(was.event_date + 1 as timestamp))" %}
{%- set settled_day = day_ended ~ " <= " ~ of_build("as_of") ~ " - interval '" ~ var("settling_hours") ~ " hours'" %}
{%- set final_day = day_ended ~ " <= " ~ of_build("as_of") ~ " - interval '" ~ var("engaging_days") ~ " days'" %}
{%- set tables = {
    "job_metrics": {"key": ["request_id", "channel"], "settled": settled_job, "final": final_job, "engagement": of_engagement, "delivery": of_delivery},
    "bounce_categories_daily": {
        "key": ["event_date", "channel", "mailbox_provider", "category_key"],
        "settled": settled_day, "final": final_day, "engagement": [], "delivery": ["messages", "denominator"],
    },
} %}

with

{% for table, parts in tables.items() -%}
feed_of_{{ table }} as (

    select * from {{ feed(ref(table)) }}

),

changes_of_{{ table }} as (

    select
        {% for column in parts.key -%}
        {{ column }},
        {% endfor -%}
        -- A key that first came and went later was not there before.
        case
            when min(version) filter (where change = 'delete') <= min(version)
                then arg_min(feed_of_{{ table }}, version) filter (where change = 'delete')
        end as was,
        -- A key that went last is not there any more.
        case
            when max(version) filter (where change = 'insert') >= max(version)
                then arg_max(feed_of_{{ table }}, version) filter (where change = 'insert')
        end as now_is,
        bool_or(is_redefined) as is_redefined
    from feed_of_{{ table }}
    group by all

),

numbers_of_{{ table }} as (

    select
        '{{ table }}' as model,
        is_redefined,
        cast(to_json({
            {% for column in parts.key -%}
            {{ column }}: {{ column }}{{ "," if not loop.last }}
            {% endfor %}
        }) as varchar) as row_key,
        unnest([
            {% for metric in parts.delivery -%}
            {
                metric: '{{ metric }}',
                was: cast(was.{{ metric }} as bigint),
                now_is: cast(now_is.{{ metric }} as bigint),
                is_published: {{ parts.settled }}
            }{{ "," if not loop.last or parts.engagement }}
            {% endfor -%}
            {% for metric in parts.engagement -%}
            {
                metric: '{{ metric }}',
                was: cast(was.{{ metric }} as bigint),
                now_is: cast(now_is.{{ metric }} as bigint),
                is_published: {{ parts.final }}
            }{{ "," if not loop.last }}
            {% endfor %}
        ]) as number
    from changes_of_{{ table }}
    where was is not null

),

{% endfor -%}
numbers as (

    {% for table in tables -%}
    select * from numbers_of_{{ table }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}

)

select
    {{ of_build("build_id") }} as build_id,
    {{ of_build("as_of") }} as logged_at,
    model,
    row_key,
    number.metric, -- noqa: RF01
    number.was as old_value,
    number.now_is as new_value,
    coalesce(number.now_is, 0) - coalesce(number.was, 0) as change,
    case when is_redefined then 'new_definitions' else 'new_events' end as reason
from numbers
where number.is_published and number.was is distinct from number.now_is
