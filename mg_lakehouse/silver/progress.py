"""Tracks which bronze versions each silver table has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deltalake import DeltaTable

from mg_lakehouse._util.side_by_side import side_by_side
from mg_lakehouse.bronze.read_progress import progress_app, silver_progress
from mg_lakehouse.events.catalogue import SET_ASIDE
from mg_lakehouse.lake.commit_log import app_version
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.tables import EVENT_TABLES

__all__ = ["TableProgress", "table_progress", "unflattened"]


class TableProgress(NamedTuple):
    """Bronze versions in silver: ``all_tables`` is in every table, ``own`` holds the tables that are ahead of it."""

    all_tables: int
    own: dict[str, int]

    def common_version(self, tables: Sequence[str]) -> int:
        """Return the version that all of these tables have."""
        return min(max(self.all_tables, self.own.get(table, 0)) for table in tables)


def unflattened(lake: Lake, source: str = "event_feed") -> int:
    """Count the bronze versions that some silver table may lack."""
    bronze = lake.open("bronze", source)
    if bronze is None:
        return 0
    return bronze.version() - silver_progress(lake, bronze)


def table_progress(lake: Lake, bronze: DeltaTable) -> TableProgress:
    """Read the version of a bronze table that each silver table has."""
    app = progress_app(bronze)
    all_tables = silver_progress(lake, bronze)
    if all_tables == bronze.version():  # no table can be ahead of it
        return TableProgress(all_tables, {})
    tables = lake.open_written("silver", (*EVENT_TABLES, SET_ASIDE))
    versions = zip(tables, side_by_side(lambda handle: app_version(handle, app), tables.values()), strict=True)
    return TableProgress(all_tables, {table: version for table, version in versions if version is not None and version > all_tables})
