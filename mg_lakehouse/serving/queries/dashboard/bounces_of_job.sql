-- Failures of a job, by day, class and category.
select
    event_date as day,
    coalesce(class, counts_as) as kind,
    coalesce(received_category, category_key) as category,
    cast(sum(messages) as bigint) as messages
from gold.bounce_days
where
    request_id = $request_id
    and messages > 0
    and counts_as is not null
group by all
order by all
