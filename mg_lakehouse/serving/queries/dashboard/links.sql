-- Links of a job by people who clicked them.
select
    click_position,
    coalesce(link_name, link) as link,
    link_host,
    unique_human_clickers,
    click_events,
    click_share_rate
from gold.link_metrics
where request_id = $request_id
order by unique_human_clickers desc, click_position asc
limit $most
