-- Rows of the newest hours by hour of receipt and kind of event; the kinds beyond the most frequent are `other`.
with

newest_hour as (

    select max(received_hour) as received_hour
    from gold.feed_health_hourly

),

newest as (

    select health.*
    from gold.feed_health_hourly as health
    inner join newest_hour on health.received_hour > newest_hour.received_hour - to_hours($hours)

),

most_frequent as (

    select event_type
    from newest
    group by all
    order by sum(received_rows) desc
    limit $named_types

)

select
    received_hour as hour,
    case when event_type in (from most_frequent) then event_type else 'other' end as kind,
    cast(sum(received_rows) as bigint) as received,
    cast(sum(duplicates) as bigint) as duplicates,
    cast(sum(late_rows) as bigint) as late
from newest
group by all
order by all
