"""Defines the silver tables, from the catalogue."""

from __future__ import annotations

from functools import cache
from typing import Final

from deltalake import DeltaTable

from mg_lakehouse.events.catalogue import REJECTED_ITEMS, SET_ASIDE, columns_of, event_of_table, silver_tables
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.tables import TableSpec

__all__ = ["EVENT_TABLES", "open_silver", "silver_spec"]

EVENT_TABLES: Final = tuple(table for table in silver_tables() if table != REJECTED_ITEMS)

_OF_NO_EVENT: Final = {
    REJECTED_ITEMS: "What could not become a row of an event table, and why.",
    SET_ASIDE: "Messages that could not be flattened for a reason that nobody foresaw; bronze has them, and `mg-lakehouse retry` flattens them again.",
}


@cache
def silver_spec(table: str) -> TableSpec:
    """Return the definition of a silver table.

    Raises:
        KeyError: the catalogue has no such table.
    """
    description = _OF_NO_EVENT.get(table)
    return TableSpec(
        layer="silver",
        name=table,
        schema=silver_schema(table),
        stats_columns=("message_id", "received_at") if description else ("event_at", "request_id", "received_at", "source"),
        description=description or event_of_table(table).description,
        comments={column.name: column.description for column in columns_of(table)},
    )


def open_silver(lake: Lake) -> dict[str, DeltaTable]:
    """Open the silver tables that were ever written, by name. What `rejected_items` says of a slice, which it gets last, then holds for all others.

    Raises:
        PermanentError, TransientError: a table cannot be opened.
    """
    first = lake.open_written("silver", [REJECTED_ITEMS])
    return first | lake.open_written("silver", [*EVENT_TABLES, SET_ASIDE])
