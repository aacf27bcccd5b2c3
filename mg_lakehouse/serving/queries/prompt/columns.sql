-- The columns of a table, for `.schema`; of the layer that is named, else of each that has such a table.
select
    schema_name as layer,
    column_name as "column",
    data_type as type,
    comment as description
from duckdb_columns()
where
    not internal
    and database_name = current_database()
    and table_name = $table
    and schema_name = coalesce($layer, schema_name)
order by schema_name, column_index
