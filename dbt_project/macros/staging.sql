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

{# Staging models of the events of messages. A test holds the list against the catalogue of events. #}
{% macro message_tables() %}
    {{ return([
        "opens", "clicks", "unsubscribes", "deliveries", "bounces", "spam_complaints", "render_errors",
        "mobile_push_deliveries", "mobile_push_delivery_failures", "mobile_push_render_errors",
        "sms_deliveries", "sms_delivery_failures", "sms_render_errors",
    ]) }}
{% endmacro %}

{# Silver tables whose rows can name a job without being of a message. #}
{% macro job_tables() %}
    {{ return([
        "job_errors", "sms_inbounds", "context_hits", "context_misses", "inbound_emails", "requests", "unrecognized_activities",
    ]) }}
{% endmacro %}
