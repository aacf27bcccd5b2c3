-- Openers and clickers of a job by age, as far as it has come.
select
    channel,
    age_hours,
    human_opener_rate,
    human_clicker_rate,
    opener_rate
from gold.engagement_curve
where
    request_id = $request_id
    and complete_at <= now()
order by channel, age_hours
