"""Reads a table's stats from its log alone: rows, version and age."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import NamedTuple, TypeVar

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse._util.side_by_side import side_by_side
from mg_lakehouse.lake.commit_log import commits_of, committed_at

__all__ = ["TableStats", "stats_of_tables", "table_stats"]

K = TypeVar("K", bound=Hashable)


class TableStats(NamedTuple):
    """The stats of a table. Times are UTC; ``newest_received_at`` is null if the table has no such column or no row."""

    rows: int
    version: int
    updated_at: datetime
    newest_received_at: datetime | None


def stats_of_tables(handles: Mapping[K, DeltaTable]) -> dict[K, TableStats]:
    """Read the stats of some tables side by side: of each, the store is asked when it was last committed to."""
    return dict(zip(handles, side_by_side(table_stats, handles.values()), strict=True))


def table_stats(handle: DeltaTable) -> TableStats:
    """Read a table's stats from its log alone.

    Raises:
        PermanentError, TransientError: the log cannot be read.
    """
    actions = pl.DataFrame(handle.get_add_actions(flatten=True))
    rows = 0 if actions.is_empty() else int(actions["num_records"].sum())
    newest = actions["max.received_at"].max() if "max.received_at" in actions.columns else None
    return TableStats(rows, handle.version(), committed_at(next(commits_of(handle))), newest if isinstance(newest, datetime) else None)
