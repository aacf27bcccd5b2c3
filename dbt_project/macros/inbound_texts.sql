{# The capitals of a text, without accents, those of full width as ordinary ones: `Arrêt` and `ＳＴＯＰ` are words that people type. #}
{% macro capitals(text) -%}
    translate(upper(strip_accents({{ text }})), 'ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')
{%- endmacro %}

{% macro letters(text) -%}
    regexp_replace({{ capitals(text) }}, '[^A-Z]', '', 'g')
{%- endmacro %}

{#
    What decides on a text message that a person sent in (decision G34): the kind that MessageGears gives it where it is STOP, START, HELP or their like.
    Any other kind, such as KEYWORD, only says that the text is none that it knows, and older feeds have none: then the text decides.
#}
{% macro deciding_text(message_type, text) -%}
    case
        when
            {{ letters(message_type) }} in (
                '{{ ((var("sms_stop_words") | list) + (var("sms_start_words") | list) + ["HELP", "INFO"]) | join("', '") }}'
            )
            then {{ message_type }}
        else {{ text }}
    end
{%- endmacro %}

{# What it asks for: `stop`, `start` or null. The text as a whole, but for what is no letter; of `stop` its first word is enough. #}
{% macro sms_keyword(message_type, text) -%}
    {%- set deciding = deciding_text(message_type, text) -%}
    case
        when {{ letters(deciding) }} in ('{{ var("sms_stop_words") | join("', '") }}') then 'stop'
        when regexp_extract({{ capitals(deciding) }}, '[A-Z]+') = '{{ var("sms_stop_words")[0] }}' then 'stop'
        when {{ letters(deciding) }} in ('{{ var("sms_start_words") | join("', '") }}') then 'start'
    end
{%- endmacro %}

{# What it is: `stop`, `start`, `help` or `other` (decision G53). #}
{% macro sms_inbound_type(message_type, text) -%}
    coalesce(
        {{ sms_keyword(message_type, text) }},
        case when {{ letters(deciding_text(message_type, text)) }} in ('HELP', 'INFO') then 'help' else 'other' end
    )
{%- endmacro %}
