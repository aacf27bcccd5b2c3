{# No two rows share a key; nulls are equal to each other. #}
{% test primary_key(model, columns) %}
select
    {{ columns | join(", ") }},
    count(*) as copies
from {{ rows_to_test(model) }}
group by {{ columns | join(", ") }}
having count(*) > 1
{% endtest %}
