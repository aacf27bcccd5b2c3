"""The foundation: Delta and DuckDB, without business rules."""
