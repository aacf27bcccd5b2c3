{#
    What the rows of a gold table were before the refresh and are after it, from its change feed, in whatever number of commits: one row for a key,
    with both rows as structs. `was` is null where there was no row before, and `now_is` where there is none any more.
#}
{% macro rows_before_and_after(table, key) -%}
    select
        {{ key | join(",\n        ") }},
        -- A key that first came and went later was not there before.
        case
            when min(version) filter (where change = 'delete') <= min(version)
                then arg_min(changes, version) filter (where change = 'delete')
        end as was,
        -- A key that went last is not there any more.
        case
            when max(version) filter (where change = 'insert') >= max(version)
                then arg_max(changes, version) filter (where change = 'insert')
        end as now_is,
        bool_or(is_redefined) as is_redefined
    from (select * from {{ feed(table) }}) as changes
    group by all
{%- endmacro %}

{# A list of some metrics of such a row, each by its name with what it was and is. #}
{% macro metrics_before_and_after(metrics) -%}
    [
        {% for metric in metrics -%}
        {metric: '{{ metric }}', was: cast(was.{{ metric }} as bigint), now_is: cast(now_is.{{ metric }} as bigint)}{{ "," if not loop.last }}
        {% endfor -%}
    ]
{%- endmacro %}

{# Whether a UTC day ended at least so many hours before the build. #}
{% macro ended_before(event_date, hours) -%}
    timezone('UTC', cast({{ event_date }} + 1 as timestamp)) <= {{ of_build("as_of") }} - interval '{{ hours }} hours'
{%- endmacro %}
