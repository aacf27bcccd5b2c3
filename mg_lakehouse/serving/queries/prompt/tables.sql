-- The tables of the lake, for `.tables`.
select
    schema_name as layer,
    view_name as "table",
    comment as description
from duckdb_views()
where not internal
order by layer, "table"
