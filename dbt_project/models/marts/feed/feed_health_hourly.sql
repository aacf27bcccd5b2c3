{{ config(scope="received_days", counts_duplicates=true, stats_columns=["received_date", "received_hour"]) }}

{%- set tables = message_tables() + job_tables() + ["rejected_items"] %}

with

received as (

    {% for table in tables -%}
    select
        '{{ table }}' as event_type,
        date_trunc('hour', received_at) as received_hour,
        {% if table == "rejected_items" -%}
        cast(null as timestamptz) as event_at,
        cast(null as bigint) as lag_seconds
        {%- else -%}
        event_at,
        greatest(date_diff('second', event_at, received_at), 0) as lag_seconds
        {%- endif %}
    from {{ scoped(source("silver", table)) }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}

),

-- Whole seconds, counted: a percentile of the rows themselves would keep all of a day's rows in memory.
lags as (

    select
        event_type,
        received_hour,
        lag_seconds,
        count(*) as messages,
        min(event_at) as oldest_event_at
    from received
    group by all

),

ranked as (

    select
        *,
        sum(messages) over (partition by event_type, received_hour order by lag_seconds nulls last) as so_far,
        sum(messages) over (partition by event_type, received_hour) as total
    from lags

),

hours as (

    select
        event_type,
        received_hour,
        sum(messages) as received_rows,
        coalesce(sum(messages) filter (where lag_seconds > {{ var("late_seconds") }}), 0) as late_rows,
        min(oldest_event_at) as oldest_event_at,
        min(lag_seconds) filter (where so_far >= total * 0.5) as lag_seconds_p50,
        min(lag_seconds) filter (where so_far >= total * 0.95) as lag_seconds_p95,
        max(lag_seconds) as lag_seconds_max
    from ranked
    group by all

),

-- The copies that silver dropped, which are in no row: the plugin has them from the ledgers (decision G61).
duplicates as (

    select
        silver_table as event_type,
        received_hour,
        sum(duplicates) as duplicates
    from {{ dropped_duplicates() }}
    group by all

)

select
    coalesce(hours.received_hour, duplicates.received_hour) as received_hour,
    cast(coalesce(hours.received_hour, duplicates.received_hour) as date) as received_date,
    coalesce(hours.event_type, duplicates.event_type) as event_type,
    cast(coalesce(hours.received_rows, 0) as bigint) as received_rows,
    cast(coalesce(duplicates.duplicates, 0) as bigint) as duplicates,
    cast(coalesce(hours.late_rows, 0) as bigint) as late_rows,
    hours.oldest_event_at,
    hours.lag_seconds_p50,
    hours.lag_seconds_p95,
    hours.lag_seconds_max
from hours
full join duplicates
    on hours.event_type = duplicates.event_type and hours.received_hour = duplicates.received_hour
