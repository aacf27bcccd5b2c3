-- Addresses of the suppression list by channel and reason; one with two reasons counts for both.
select
    channel,
    each.reason,
    count(*) as addresses
from gold.suppression_list
cross join unnest(reasons) as each (reason)
group by all
order by addresses desc
