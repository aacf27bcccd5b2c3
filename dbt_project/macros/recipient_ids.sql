{#
    Whether an id is what a system writes where it has none (decision G70): zeros and signs alone, a word for nothing, a merge tag that nobody
    filled, or a number that a spreadsheet rounded, such as `1.23E+15`, which stood for many.
    The first character, as received, tells what to look for, and rules out most ids: to look at each whole took 1.6 µs for each event of each
    model. DuckDB makes a join of a long `in`, which is worked out for all rows, whatever the `case`: so lists are asked by `list_contains`. In a
    filter it works out a part anew wherever it stands: so this is no condition of one.
#}
{% macro is_placeholder(id) -%}
    {%- set words, tags = var("placeholder_ids") | list, var("merge_tags") | list -%}
    {%- set words_and_errors = words + (var("spreadsheet_errors") | list) -%}
    {%- set signs = "0-_.?#*{}()[]<> " -%}
    {%- set begins_a_sign = signs ~ "%" ~ (tags | map("first") | join) -%}
    {%- set begins_a_word = words | map("first") | join -%}
    {%- set is_rounded = "(contains(" ~ id ~ ", '+') and regexp_full_match(trim(" ~ id ~ "), '[0-9](?:[.,][0-9]+)?[eE][+][0-9]+'))" -%}
    case
        when contains('{{ begins_a_sign }}', left({{ id }}, 1))
            then
                trim({{ id }}, '{{ signs }}') = ''
                or list_contains(['{{ words_and_errors | join("', '") }}'], lower(trim({{ id }}, '#()[]<>{} ')))
                or list_contains(['{{ tags | join("', '") }}'], left(trim({{ id }}), 2))
                or regexp_full_match(trim({{ id }}), '%|%.*%', 's')
                or {{ is_rounded }}
        when contains('{{ begins_a_word | lower }}{{ begins_a_word | upper }}', left({{ id }}, 1))
            then list_contains(['{{ words | join("', '") }}'], lower(trim({{ id }})))
        else {{ is_rounded }}
    end
{%- endmacro %}

{# Whether an id is a number with what a spreadsheet takes from it or adds to it: zeros before, an apostrophe, a `.0` behind (decision G76). #}
{% macro is_padded(id) -%}
    regexp_full_match({{ id }}, '\x27?0+[1-9][0-9]*|\x27[1-9][0-9]*|[1-9][0-9]*[.]0+')
{%- endmacro %}

{# The number that an id is, without what a spreadsheet takes from it or adds to it; an empty text where it is none. #}
{% macro bare_number(id) -%}
    regexp_extract({{ id }}, '^\x27?0*([1-9][0-9]*)(?:[.]0+)?$', 1)
{%- endmacro %}
