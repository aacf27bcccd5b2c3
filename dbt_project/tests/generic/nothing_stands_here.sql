{# The table is empty: each of its rows is something to look into. #}
{% test nothing_stands_here(model) %}
select 1 as problem
from {{ model }}
{% endtest %}
