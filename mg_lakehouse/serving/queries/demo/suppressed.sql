-- Addresses to stop mailing, by channel and reason.
select
    channel,
    each.reason,
    count(*) as addresses
from gold.suppression_list
cross join unnest(reasons) as each (reason)
group by all
order by addresses desc, channel asc, each.reason asc
limit 6
