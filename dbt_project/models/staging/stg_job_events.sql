{# Every event that names a job, of a message or not, with what it says of the job (decision G1). #}
with

events as (

    {% for table in message_tables() + job_tables() -%}
    select
        request_id,
        event_at,
        activity_id,
        account_id,
        case when not ({{ is_placeholder("correlation_id") }}) then correlation_id end as correlation_id,
        job_category,
        campaign_id,
        campaign_version,
        '{{ table }}' as silver_table
    from {{ scoped(source("silver", table)) }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}

)

select
    *,
    case
        when silver_table like 'mobile_push_%' then 'push'
        when silver_table in ('sms_deliveries', 'sms_delivery_failures', 'sms_render_errors') then 'sms'
        when
            silver_table not in ('{{ job_tables() | join("', '") }}')
            then 'email'
    end as channel,
    silver_table like '%deliveries'
    or silver_table like '%failures'
    or silver_table like '%render_errors'
    or silver_table in ('bounces', 'requests') as is_send_evidence
from events
where request_id is not null
