with

mailbox_providers as (

    select * from {{ ref("mailbox_providers") }}

)

select
    domain,
    provider,
    cast(reports_complaints as boolean) as reports_complaints
from mailbox_providers
