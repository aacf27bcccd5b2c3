"""Clients of the outside: the queue, the Delta lake and DuckDB, with verbs and typed results.

They sort what goes wrong into :class:`~mg_lakehouse.errors.PermanentError` and
:class:`~mg_lakehouse.errors.TransientError`. Nothing here knows Dagster.
"""
