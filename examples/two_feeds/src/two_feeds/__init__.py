"""A Dagster project with two MessageGears feeds."""
