{# Host of an address, in lower case; null where there is none to read. #}
{% macro link_host(url) -%}
    nullif(lower(regexp_extract({{ url }}, '^\s*[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:\s]+)', 1)), '')
{%- endmacro %}

{#
    What tells a link from others without telling people apart (decision G42): host and path of its address, without query and fragment; parts of the
    path that hold a digit, an `@` or more than 40 characters are `*`, for they may be a person's or a message's.
#}
{% macro link_place(url) -%}
    {{ link_host(url) }} || regexp_replace(
        regexp_extract({{ url }}, '://[^/?#]*([^?#]*)', 1), '/(?:[^/]*(?:[0-9@]|%40)[^/]*|[^/]{41,})', '/*', 'g'
    )
{%- endmacro %}
