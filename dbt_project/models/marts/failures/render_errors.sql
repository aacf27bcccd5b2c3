{{ config(scope="whole", stats_columns=["channel", "last_seen_at"]) }}

{%- set tables = {"render_errors": "email", "sms_render_errors": "sms", "mobile_push_render_errors": "push"} %}

with

failed as (

    {% for table, channel in tables.items() -%}
    select
        '{{ channel }}' as channel,
        request_id,
        activity_id,
        event_at,
        {% if channel == "email" -%}
        {{ local_part(email_address("lower(trim(email_address))")) }} as own,
        {%- else -%}
        cast(null as varchar) as own,
        {%- endif %}
        -- An event without a readable error still counts.
        unnest(case when len(errors) > 0 then errors else [null] end) as error
    from {{ scoped(source("silver", table)) }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}

),

worded as (

    select
        *,
        {{ without_local_part(reason_words("error.error_code"), "own") }} as code_words,
        {{ without_local_part(reason_words("error.error_message"), "own") }} as words,
        {{ local_names("own") }} as names
    from failed

),

nameless as (

    select
        *
        replace ({{ without_names("code_words", "names") }} as code_words, {{ without_names("words", "names") }} as words)
    from worded

),

errors as (

    select
        channel,
        request_id,
        activity_id,
        event_at,
        {{ error_code("error.error_code", words="code_words", own="own") }} as error_code,
        {{ template_part("error.error_message") }} as template_part,
        {{ template_expression("error.error_message") }} as expression,
        {{ reason_fingerprint("words") }} as error_fingerprint
    from nameless

)

select
    channel,
    error_code,
    template_part,
    expression,
    error_fingerprint,
    -- A message has one event, which may name one error twice.
    count(distinct activity_id) as messages,
    count(distinct request_id) as jobs,
    min(event_at) as first_seen_at,
    max(event_at) as last_seen_at,
    -- In a struct, for a null is an answer: the newest may belong to no job.
    struct_extract(arg_max({ request_id: request_id }, (event_at, activity_id)), 'request_id') as newest_request_id
from errors
group by all
