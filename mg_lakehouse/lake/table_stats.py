"""Reads a table's stats from its log alone: rows, version and age."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import commits_of, committed_at
from mg_lakehouse.location import Layer

__all__ = ["TableStats", "table_stats"]


class TableStats(NamedTuple):
    """The stats of a table. Times are UTC; ``newest_received_at`` is null if the table has no such column or no row."""

    rows: int
    version: int
    updated_at: datetime
    newest_received_at: datetime | None


def table_stats(lake: Lake, layer: Layer, table: str, handle: DeltaTable | None = None) -> TableStats | None:
    """Read a table's stats from its log alone; ``None`` if it does not exist. It is opened, unless its ``handle`` is given."""
    handle = handle or lake.open(layer, table)
    if handle is None:
        return None
    actions = pl.DataFrame(handle.get_add_actions(flatten=True))
    rows = 0 if actions.is_empty() else int(actions["num_records"].sum())
    newest = actions["max.received_at"].max() if "max.received_at" in actions.columns else None
    with store_errors(f"{layer}/{table} in the lake {lake.uri}"):
        updated_at = committed_at(next(commits_of(handle)))
    return TableStats(rows, handle.version(), updated_at, newest if isinstance(newest, datetime) else None)
