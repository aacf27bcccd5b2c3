-- What could not be read, by reason.
select
    reason,
    count(*) as items,
    max(received_at) as newest
from silver.rejected_items
group by all
order by items desc
