-- Minutes between an event and its receipt, by hour of receipt: the median kind's median, and the slowest kind's 95th percentile.
with

newest_hour as (

    select max(received_hour) as received_hour
    from gold.feed_health_hourly

)

select
    health.received_hour as hour,
    median(health.lag_seconds_p50) / 60 as usual_minutes,
    max(health.lag_seconds_p95) / 60 as slowest_minutes
from gold.feed_health_hourly as health
inner join newest_hour on health.received_hour > newest_hour.received_hour - to_hours($hours)
where health.event_type <> 'rejected_items'
group by all
order by all
