{#
    The columns that every event of a message has. `address` is what one address is compared by: trimmed, in lower case, a phone number by its
    digits; `spelling` is the address as received but for its case. An id that stands for nobody is `placeholder_id` and no `recipient_id`.
    The address serves the recipient's key only, and leaves no model but those that must say whom to remove.
#}
{% macro message_event(table, channel, kind, address) -%}
    {%- set received = "nullif(lower(trim(" ~ table ~ "." ~ address ~ ")), '')" -%}
    {%- set id = "nullif(trim(" ~ table ~ ".recipient_id), '')" -%}
    {{ table }}.request_id,
    '{{ channel }}' as channel,
    '{{ kind }}' as kind,
    {{ table }}.event_at,
    {{ table }}.event_date,
    {{ table }}.received_at,
    {{ table }}.activity_id,
    case when not {{ is_placeholder(id) }} then {{ id }} end as recipient_id,
    case when {{ is_placeholder(id) }} then {{ id }} end as placeholder_id,
    {{ phone_number(received) if channel == "sms" else received }} as address,
    {{ received }} as spelling
{%- endmacro %}

{#
    Whether an id is what a system writes where it has none (decision G70): a word for nothing, zeros and signs alone, a merge tag that nobody
    filled. No pattern: a regular expression took 0.3 µs for each event of each model.
#}
{% macro is_placeholder(id) -%}
    (
        lower(trim({{ id }}, '#()[]<>{} ')) in ('{{ var("placeholder_ids") | join("', '") }}')
        or trim({{ id }}, '0-_.?#*{}()[]<> ') = ''
        or left({{ id }}, 2) in ('{{ var("merge_tags") | join("', '") }}')
        or (left({{ id }}, 1) = '%' and right({{ id }}, 1) = '%')
    )
{%- endmacro %}

{#
    A phone number as it is compared (decision G71): `+` and its digits, without the 00 of a number dialled from abroad. What holds a letter is no
    number, and what has more digits than a number can have (15, ITU-T E.164) is none either: they stay as they are.
#}
{% macro phone_number(address) -%}
    {%- set written = "regexp_replace(" ~ address ~ ", '^(?:tel|sms|whatsapp):', '')" -%}
    {%- set digits = "regexp_replace(translate(" ~ written ~ ", '０１２３４５６７８９', '0123456789'), '[^0-9]', '', 'g')" -%}
    {%- set number = "regexp_replace(" ~ digits ~ ", '^00', '')" -%}
    case
        when regexp_matches({{ written }}, '\p{L}') or length({{ number }}) not between 1 and 15 then {{ address }}
        else '+' || {{ number }}
    end
{%- endmacro %}

{# An address of any channel as it is compared, given as received but for its case. #}
{% macro compared_address(channel, address) -%}
    case when {{ channel }} = 'sms' then {{ phone_number(address) }} else {{ address }} end
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
