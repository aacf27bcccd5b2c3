{# The SMTP reply code in a server's text: the first 4xx or 5xx that stands alone. Null where there is none. #}
{% macro smtp_code(details) -%}
    cast(nullif(regexp_extract({{ details }}, '(?:^|[^0-9.])([45][0-9][0-9])(?:[^0-9.]|$)', 1), '') as bigint)
{%- endmacro %}

{# The enhanced status code in a server's text (RFC 3463), such as 5.1.1. Null where there is none. #}
{% macro enhanced_status(details) -%}
    nullif(regexp_extract({{ details }}, '(?:^|[^0-9.])([45][.][0-9]{1,3}[.][0-9]{1,3})(?:[^0-9.]|$)', 1), '')
{%- endmacro %}

{% macro replaced(text, steps) -%}
    {%- set found = namespace(text=text) -%}
    {%- for pattern, instead in steps -%}
        {%- set found.text = "regexp_replace(" ~ found.text ~ ", '" ~ pattern ~ "', '" ~ instead ~ "', 'g')" -%}
    {%- endfor -%}
    {{ found.text }}
{%- endmacro %}

{# A server's text as words with blanks around them: lower case, `#` for quotations and URLs, no brackets and the like. #}
{% macro reason_words(details) -%}
    ' ' || {{ replaced("lower(" ~ details ~ ")", [
        ["\"[^\"]*\"|(^|\\s)''[^'']*''", " # "], ["[a-z][a-z0-9+.-]*://\\S+", "#"], ["[\\s(),;:<>\\[\\]]+", " "],
    ]) }} || ' '
{%- endmacro %}

{#
    What the words say beside of whom and when (decision G50): `#` stands for the local part of the event's own address, for addresses, host names
    and whatever holds a digit or is not ASCII, cut to 200 characters. Nothing of a person remains. All patterns are constants: one made of the
    address took 140 us a row to compile.
#}
{% macro reason_fingerprint(words, address=none) -%}
    {%- set text = words -%}
    {%- if address is not none -%}
        {#- A short one may be part of any word. -#}
        {%- set own = "split_part(lower(trim(" ~ address ~ ")), '@', 1)" -%}
        {%- set text = "replace(" ~ text ~ ", coalesce(' ' || nullif(" ~ own ~ ", '') || ' ', '#'), ' # ')" -%}
        {%- set text = "replace(" ~ text ~ ", case when length(" ~ own ~ ") > 3 then " ~ own ~ " else '#' end, '#')" -%}
    {%- endif -%}
    coalesce(nullif(trim(left(trim({{ replaced(text, [
        ["[^ ]*(?:@|%40|#|[0-9]|[^\\x20-\\x7e])[^ ]*|[^ .]+(?:[.][^ .]+)+", "#"], ["#(?: #)+", "#"],
    ]) }}), 200)), ''), '(none)')
{%- endmacro %}
