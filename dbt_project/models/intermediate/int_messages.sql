{# The messages, with whether their provider reports complaints (decision G18). #}
with

messages as (

    select * from {{ scoped(ref("fct_messages")) }}

),

mailbox_providers as (

    select * from {{ ref("stg_mailbox_providers") }}

),

reporting_providers as (

    select distinct provider
    from mailbox_providers
    where reports_complaints

)

select
    messages.*,
    messages.channel = 'email' and reporting_providers.provider is not null as reports_complaints
from messages
left join reporting_providers on messages.mailbox_provider = reporting_providers.provider
