{# Each of some columns holds only values of its list, or null. #}
{% test allowed_values(model, allowed) %}
{% for column, names in allowed.items() -%}
select
    '{{ column }}' as column_name,
    {{ column }} as value
from {{ rows_to_test(model) }}
where {{ column }} not in ('{{ names | join("', '") }}')
{% if not loop.last %}union all{% endif %}
{% endfor %}
{% endtest %}
