{{ config(stats_columns=["request_id", "age_hours"]) }}

{%- set counts = {
    "openers": "seconds_to_open",
    "human_openers": "seconds_to_human_open",
    "clickers": "seconds_to_click",
    "human_clickers": "seconds_to_human_click",
} %}

with

messages as (

    select * from {{ scoped(ref("fct_messages")) }}
    -- A message that is known to have arrived by an answer only has no age.
    where request_id is not null and is_accepted and first_delivered_at is not null

),

answers as (

    select
        request_id,
        channel,
        first_delivered_at,
        {{ seconds_between("first_delivered_at", "first_opened_at") }} as seconds_to_open,
        {{ seconds_between("first_delivered_at", "first_human_opened_at") }} as seconds_to_human_open,
        {{ seconds_between("first_delivered_at", "first_clicked_at") }} as seconds_to_click,
        {{ seconds_between("first_delivered_at", "first_human_clicked_at") }} as seconds_to_human_click
    from messages

),

-- A list with a count for each age: a row for each message and age took four times as long.
jobs as (

    select
        request_id,
        channel,
        count(*) as aged_messages,
        max(first_delivered_at) as last_delivered_at,
    {% for name, seconds in counts.items() -%}
    [
        {% for hours in var("engagement_ages_hours") -%}
        count(*) filter (where {{ seconds }} <= {{ hours * 3600 }}){{ "," if not loop.last }}
        {% endfor %}
    ] as {{ name }}{{ "," if not loop.last }}
    {% endfor %}
    from answers
    group by all

),

curves as (

    select
        request_id,
        channel,
        unnest({{ var("engagement_ages_hours") }}) as age_hours,
        aged_messages,
        {% for name in counts -%}
        unnest({{ name }}) as {{ name }},
        {% endfor -%}
        last_delivered_at
    from jobs

)

select
    request_id,
    channel,
    cast(age_hours as bigint) as age_hours,
    aged_messages,
    {% for name in counts -%}
    {{ name }},
    {% endfor -%}
    {{ ratio("openers", "aged_messages") }} as opener_rate,
    {{ ratio("human_openers", "aged_messages") }} as human_opener_rate,
    {{ ratio("clickers", "aged_messages") }} as clicker_rate,
    {{ ratio("human_clickers", "aged_messages") }} as human_clicker_rate,
    last_delivered_at + to_hours(cast(age_hours as bigint)) as complete_at
from curves
