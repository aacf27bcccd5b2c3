"""Compares a silver table's columns with the catalogue."""

from __future__ import annotations

from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.tables import columns_of_table

__all__ = ["schema_differences"]


def schema_differences(lake: Lake, table: str) -> list[str]:
    """Return the columns of a silver table that differ from the catalogue, each as a phrase; empty if the table does not exist."""
    handle = lake.open("silver", table)
    if handle is None:
        return []
    expected = silver_schema(table)
    actual = columns_of_table(handle)
    missing = [f"{name} is missing" for name in expected if name not in actual]
    unknown = [f"{name} is not in the catalogue" for name in actual if name not in expected]
    retyped = [f"{name} is {actual[name]}, not {dtype}" for name, dtype in expected.items() if name in actual and actual[name] != dtype]
    return [*missing, *unknown, *retyped]
