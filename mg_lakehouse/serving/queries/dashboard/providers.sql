-- E-mail of a job by mailbox provider.
select
    mailbox_provider,
    cast(sum(attempted) as bigint) as attempted,
    cast(sum(accepted) as bigint) as accepted,
    cast(sum(bounced) as bigint) as bounced,
    cast(sum(unique_human_openers) as bigint) as unique_human_openers,
    cast(sum(unique_human_clickers) as bigint) as unique_human_clickers,
    cast(sum(complainers) as bigint) as complainers,
    safe_rate(sum(accepted), sum(attempted)) as delivery_rate
from gold.domain_days
where request_id = $request_id
group by all
order by attempted desc
