{# A share that is null where there is nothing to share: in DuckDB 5 / 0 is infinite. #}
{% macro ratio(numerator, denominator) -%}
    case when {{ denominator }} > 0 then cast({{ numerator }} as double) / {{ denominator }} end
{%- endmacro %}

{# Maturity of a job (decision G9), from the time of its last send evidence to the time that the build is made for. #}
{% macro maturity(last_at) -%}
    case
        when getvariable('mg_as_of') - {{ last_at }} < interval '{{ var("sending_hours") }} hours' then 'sending'
        when getvariable('mg_as_of') - {{ last_at }} < interval '{{ var("settling_hours") }} hours' then 'settling'
        when getvariable('mg_as_of') - {{ last_at }} < interval '{{ var("engaging_days") }} days' then 'engaging'
        else 'final'
    end
{%- endmacro %}

{# HMAC-SHA256 of a text under the key of the lake, in lower-case hexadecimal (RFC 2104): DuckDB has sha256 only. #}
{% macro hmac(message) -%}
    lower(sha256(getvariable('mg_hmac_outer') || unhex(sha256(getvariable('mg_hmac_inner') || encode({{ message }})))))
{%- endmacro %}

{# Seconds from one time to another, never below 0, null where either is missing (decision G12). #}
{% macro seconds_between(started_at, ended_at) -%}
    case
        when {{ started_at }} is not null and {{ ended_at }} is not null
            then greatest(date_diff('microsecond', {{ started_at }}, {{ ended_at }}) / 1000000.0, 0.0)
    end
{%- endmacro %}
