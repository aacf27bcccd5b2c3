{# The columns that every event of a message has. The address serves the recipient's key only, and leaves no model. #}
{% macro message_event(table, channel, kind, address) -%}
    {{ table }}.request_id,
    '{{ channel }}' as channel,
    '{{ kind }}' as kind,
    {{ table }}.event_at,
    {{ table }}.event_date,
    {{ table }}.activity_id,
    {{ table }}.recipient_id,
    nullif(lower(trim({{ table }}.{{ address }})), '') as address
{%- endmacro %}

{#
    Whose the events of a job are that say an address only (decision G2), given the least and the greatest recipient id that the address was
    seen with: seen with one, it is that recipient's; seen with several, it ties to none of them.
#}
{% macro key_of_address(channel, address, first_recipient_id, last_recipient_id) -%}
    case
        when {{ first_recipient_id }} = {{ last_recipient_id }} then 'id:' || {{ first_recipient_id }}
        else case {{ channel }} when 'push' then 'device' else {{ channel }} end || ':' || {{ hmac(address) }}
    end
{%- endmacro %}

{# Staging models of the events of messages. A test holds the list against the catalogue of events. #}
{% macro message_tables() %}
    {{ return([
        "opens", "clicks", "unsubscribes", "deliveries", "bounces", "spam_complaints", "render_errors",
        "mobile_push_deliveries", "mobile_push_delivery_failures", "mobile_push_render_errors",
        "sms_deliveries", "sms_delivery_failures", "sms_render_errors",
    ]) }}
{% endmacro %}

{# Those of them whose rows are failures. #}
{% macro failure_tables() %}
    {{ return(["bounces", "mobile_push_delivery_failures", "sms_delivery_failures"]) }}
{% endmacro %}

{# Silver tables whose rows can name a job without being of a message. #}
{% macro job_tables() %}
    {{ return([
        "job_errors", "sms_inbounds", "context_hits", "context_misses", "inbound_emails", "requests", "unrecognized_activities",
    ]) }}
{% endmacro %}

{#
    What a text message that a person sent in asks for (decision G34): `stop`, `start` or null. The kind that MessageGears gives it decides; the
    schema of older feeds has none, and then the text does: as a whole, but for what is no letter, and `stop` also as its first word.
#}
{% macro sms_keyword(message_type, text) -%}
    {%- set letters = "regexp_replace(upper(coalesce(nullif(trim(" ~ message_type ~ "), ''), " ~ text ~ ")), '[^A-Z]', '', 'g')" -%}
    case
        when {{ letters }} in ('{{ var("sms_stop_words") | join("', '") }}') then 'stop'
        when
            nullif(trim({{ message_type }}), '') is null
            and regexp_extract(upper({{ text }}), '[A-Z]+') = '{{ var("sms_stop_words")[0] }}'
            then 'stop'
        when {{ letters }} in ('{{ var("sms_start_words") | join("', '") }}') then 'start'
    end
{%- endmacro %}

{# What a text message that a person sent in is: `stop`, `start`, `help` or `other` (decision G53). #}
{% macro sms_inbound_type(message_type, text) -%}
    coalesce(
        {{ sms_keyword(message_type, text) }},
        case
            when regexp_replace(upper(coalesce(nullif(trim({{ message_type }}), ''), {{ text }})), '[^A-Z]', '', 'g') in ('HELP', 'INFO') then 'help'
            else 'other'
        end
    )
{%- endmacro %}

{#
    Domain of a normalised e-mail address; null where it cannot be read (decision G15). To match and then to split takes a fifth of the time of
    a pattern that captures: 0.3 instead of 1.6 µs, for each event in half of the models.
#}
{% macro address_domain(address) -%}
    case when regexp_matches({{ address }}, '^[^@\s]+@[^@\s]+\.[^@\s]+$') then split_part({{ address }}, '@', 2) end
{%- endmacro %}

{# Who runs a mailbox, given its domain and what the seed says of that (decision G15). #}
{% macro mailbox_provider(domain, provider) -%}
    coalesce({{ provider }}, case when {{ domain }} is null then 'unknown' else 'other' end)
{%- endmacro %}
