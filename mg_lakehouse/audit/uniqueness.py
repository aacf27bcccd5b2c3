"""Uniqueness: no activity id occurs twice, in new rows or in a whole table."""

from __future__ import annotations

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import all_files
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.known_ids import known_ids

__all__ = ["repeated_ids", "repeated_new_ids"]


def repeated_new_ids(lake: Lake, handle: DeltaTable | None, *, above: int) -> int:
    """Count activity ids that occur more than once, among those that a silver table's versions above ``above`` added; none if there is no table.

    Reads the committed rows back. The cost grows with the new rows: of the table, only the hours in which events of these ids are known are read.
    """
    if handle is None or handle.version() <= above:
        return 0
    with store_errors(f"silver/{handle.metadata().name} in the lake {lake.uri}"):
        stream = handle.load_cdf(above + 1, handle.version(), columns=["activity_id"], allow_out_of_range=True)
        new = pl.DataFrame(stream.read_all())["activity_id"].unique()
        rows = None if new.is_empty() else known_ids(lake, handle).rows(new)
        return 0 if rows is None else _repeated(rows.select("activity_id"))


def repeated_ids(lake: Lake, handle: DeltaTable | None) -> int:
    """Count activity ids that occur more than once in a whole silver table; none if there is no table."""
    if handle is None or not (files := all_files(handle)):
        return 0
    with store_errors(f"silver/{handle.metadata().name} in the lake {lake.uri}"):
        return _repeated(lake.scan(files, handle).select("activity_id"))


def _repeated(ids: pl.LazyFrame) -> int:
    repeated = ids.group_by("activity_id").len().filter(pl.col("len") > 1).select(pl.len())
    return int(repeated.collect(engine="streaming").item())
