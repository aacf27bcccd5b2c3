{#
    No two rows share a key; nulls are equal to each other. Keys are told apart by their hashes first, which take little of the
    memory that the keys of all messages would; those that share one are compared.
#}
{% test primary_key(model, columns) %}
{%- set keys = columns | join(", ") -%}
{#- Named here and not by `rows_to_test`: a project on top, whose macros are others, tests its tables by it too. -#}
{%- set rows = "tested." ~ model.identifier if target.name == "mg_engine" else model %}
with

shared_hashes as (

    select hash({{ keys }}) as key_hash
    from {{ rows }}
    group by hash({{ keys }})
    having count(*) > 1

)

select
    {{ keys }},
    count(*) as copies
from {{ rows }}
where hash({{ keys }}) in (select shared_hashes.key_hash from shared_hashes)
group by {{ keys }}
having count(*) > 1
{% endtest %}
