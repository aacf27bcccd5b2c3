-- The mailbox providers with the most e-mail, and the days on which complaints there called for action.
select
    mailbox_provider,
    cast(sum(attempted) as bigint) as attempted,
    sum(accepted) / nullif(sum(attempted), 0) as delivery_rate,
    sum(bounced) / nullif(sum(attempted), 0) as bounce_rate,
    sum(unique_human_openers) / nullif(sum(accepted), 0) as human_open_rate,
    sum(complainers_fbl) / nullif(sum(accepted_fbl), 0) as complaint_rate,
    count(*) filter (where complaint_level = 'act') as days_to_act
from gold.mailbox_provider_daily
where channel = 'email'
group by all
order by attempted desc, mailbox_provider asc
limit 6
