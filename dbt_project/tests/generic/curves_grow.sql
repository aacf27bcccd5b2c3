{# Along a curve no count falls, and none is above what the job has in the end. #}
{% test curves_grow(model) %}
{%- set counts = {
    "openers": "unique_openers", "human_openers": "unique_human_openers", "clickers": "unique_clickers", "human_clickers": "unique_human_clickers",
} %}
with

curves as (

    select
        *,
        {% for name in counts -%}
        lag({{ name }}) over (partition by request_id, channel order by age_hours) as {{ name }}_before{{ "," if not loop.last }}
        {% endfor %}
    from {{ rows_to_test(model) }}

)

select
    curves.request_id,
    curves.channel,
    curves.age_hours
from curves
left join {{ ref("job_metrics") }} as jobs
    on curves.request_id = jobs.request_id and curves.channel = jobs.channel
where
    jobs.request_id is null
    or curves.aged_messages > jobs.accepted
    {% for name, count in counts.items() -%}
    or curves.{{ name }} < curves.{{ name }}_before
    or curves.{{ name }} > jobs.{{ count }}
    {% endfor %}
{% endtest %}
