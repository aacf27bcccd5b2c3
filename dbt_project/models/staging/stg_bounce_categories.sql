with

bounce_categories as (

    select * from {{ ref("bounce_categories") }}

)

select
    channel,
    category_key,
    cast(nullif(category_code, '') as bigint) as category_code,
    category,
    class,
    counts_as,
    cast(is_attempted as boolean) as is_attempted,
    in_bounce_rate,
    cast(nullif(is_permanent, '') as boolean) as is_permanent,
    cast(must_remove as boolean) as must_remove,
    description
from bounce_categories
