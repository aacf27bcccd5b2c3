{# Every category that was received is in the seed. One that is not still counts, as undetermined. #}
{% test no_unknown_category(model) %}
select
    channel,
    category_key,
    count(*) as jobs
from {{ rows_to_test(model) }}
where class = 'unknown'
group by channel, category_key
{% endtest %}
