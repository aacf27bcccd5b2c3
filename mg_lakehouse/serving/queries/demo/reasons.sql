-- Why e-mail was refused, in the servers' words.
select
    reason_fingerprint,
    cast(smtp_code as varchar) as smtp_code,
    enhanced_status,
    cast(sum(events) as bigint) as events,
    count(distinct mailbox_provider) as providers
from gold.bounce_reasons_daily
where smtp_code is not null
group by all
order by events desc, reason_fingerprint asc
limit 6
