{#
    The columns that every event of a message has, from a silver table. `recipient_id` is null where the id stands for nobody, which is
    `placeholder_id` then. `spelling` is the address as received but for its case; `address` is what it is compared by: a phone number by its
    digits, an e-mail address in one form. Both serve the recipient's key, and leave no model but those that must say whom to remove.
#}
{% macro message_event(table, channel, kind, address) -%}
    {%- set received = "nullif(lower(trim(" ~ table ~ "." ~ address ~ ")), '')" -%}
    {%- set received_id = table ~ ".recipient_id" -%}
    {%- set id = "nullif(trim(" ~ received_id ~ "), '')" -%}
    {{ table }}.request_id,
    '{{ channel }}' as channel,
    '{{ kind }}' as kind,
    {{ table }}.event_at,
    {{ table }}.event_date,
    {{ table }}.received_at,
    {{ table }}.activity_id,
    case when not ({{ is_placeholder(received_id) }}) then {{ id }} end as recipient_id,
    case when ({{ is_placeholder(received_id) }}) then {{ id }} end as placeholder_id,
    {{ phone_number(received) if channel == "sms" else email_address(received) if channel == "email" else received }} as address,
    {{ received }} as spelling
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
