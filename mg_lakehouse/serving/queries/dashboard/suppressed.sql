-- Addresses that are new on the suppression list by day and channel, and all until then.
with

days as (

    select
        cast(first_evidence_at as date) as day,
        channel,
        count(*) as new
    from gold.suppression_list
    group by all

)

select
    day,
    channel,
    new,
    cast(sum(new) over (partition by channel order by day) as bigint) as total
from days
order by all
