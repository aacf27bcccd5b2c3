-- Failures by category, and whether its addresses must be removed.
select
    categories.channel,
    categories.category_key,
    any_value(categories.category) as category,
    any_value(categories.class) as class,
    cast(sum(categories.messages) as bigint) as messages,
    any_value(known.must_remove) as must_remove
from gold.job_bounce_categories as categories
left join gold.dim_bounce_categories as known
    on
        categories.channel = known.channel
        and categories.category_key = known.category_key
group by all
order by messages desc, categories.channel asc, categories.category_key asc
limit 12
