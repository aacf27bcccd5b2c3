{# What holds for the whole build, which the plugin sets: `as_of`, `build_id`, `business_timezone` and the key's two pads. #}
{% macro of_build(name) -%}
    struct_extract(getvariable('mg_build'), '{{ name }}')
{%- endmacro %}

{# The date of a time in the business time zone, with its daylight saving time (decision G17). #}
{% macro local_date(at) -%}
    cast(timezone({{ of_build("business_timezone") }}, {{ at }}) as date)
{%- endmacro %}

{# Maturity of a job (decision G9), from the time of its last send evidence to the time that the build is made for. #}
{% macro maturity(last_at) -%}
    case
        when {{ of_build("as_of") }} - {{ last_at }} < interval '{{ var("sending_hours") }} hours' then 'sending'
        when {{ of_build("as_of") }} - {{ last_at }} < interval '{{ var("settling_hours") }} hours' then 'settling'
        when {{ of_build("as_of") }} - {{ last_at }} < interval '{{ var("engaging_days") }} days' then 'engaging'
        else 'final'
    end
{%- endmacro %}
