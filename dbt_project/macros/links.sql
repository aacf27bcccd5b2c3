{# Host of an address, in lower case; null where there is none to read. What stands before the last `@` is the user, however many there are. #}
{% macro link_host(url) -%}
    nullif(lower(regexp_extract({{ url }}, '^\s*[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?([^/?#:@\s]+)(?::[0-9]*)?(?:[/?#\s]|$)', 1)), '')
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

{# An id or a name that the template gave a link: null where it gave none (an id of `-1` is none), or one that holds an address. #}
{% macro link_label(label) -%}
    case when not regexp_matches({{ label }}, '@|%40') then nullif(nullif(trim({{ label }}), ''), '-1') end
{%- endmacro %}
