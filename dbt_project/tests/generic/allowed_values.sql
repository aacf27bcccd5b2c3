{# Each of some columns holds only values of its list, or null. #}
{% test allowed_values(model, allowed) %}
{#- See `primary_key`. -#}
{%- set rows = "tested." ~ model.identifier if target.name == "mg_engine" else model %}
{% for column, names in allowed.items() -%}
select
    '{{ column }}' as column_name,
    {{ column }} as value
from {{ rows }}
where {{ column }} not in ('{{ names | join("', '") }}')
{% if not loop.last %}union all{% endif %}
{% endfor %}
{% endtest %}
