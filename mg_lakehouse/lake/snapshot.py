"""SQL of the rows of a Delta table at the version of its handle: DuckDB reads the files that the handle names, and no log.

DuckDB's delta extension reads the log for each statement anew, of an attached table too: a refresh on S3 read each commit of each gold table ten times,
1,337 requests of 1,882. delta-rs has read it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.events.schemas import sql_of_dtype
from mg_lakehouse.lake.file_stats import all_files
from mg_lakehouse.lake.sql import file_list, identifier, text
from mg_lakehouse.lake.tables import columns_of_table

__all__ = ["empty_scan", "no_rows", "scan"]

_PARTITION_TYPE: Final = "date"
"""Tables are partitioned by the day of receipt or not at all."""


def scan(handle: DeltaTable) -> str:
    """Return SQL of all rows of a table, as a source of a ``from``.

    Files of a partitioned table may lack columns that came later, and have none of the partition. Those of others are alike, for whatever changes their
    columns replaces all rows: so DuckDB looks at the first of them only before it reads.
    """
    files = all_files(handle)
    if not files:
        return f"({empty_scan(handle)})"
    partitions = handle.metadata().partition_columns
    if not partitions:
        return f"read_parquet({file_list(files)}, hive_partitioning = false)"
    types = ", ".join(f"{text(name)}: {_PARTITION_TYPE}" for name in partitions)
    # The names of folders above the table may look like partitions too: only the table's columns are taken.
    columns = ", ".join(map(identifier, columns_of_table(handle)))
    read = f"read_parquet({file_list(files)}, union_by_name = true, hive_partitioning = true, hive_types = {{{types}}})"
    return f"(select {columns} from ({empty_scan(handle)} union all by name from {read}))"


def empty_scan(handle: DeltaTable) -> str:
    """Return a query of no rows with the columns of a table."""
    return no_rows(columns_of_table(handle))


def no_rows(columns: Mapping[str, pl.DataType]) -> str:
    """Return a query of no rows with some columns."""
    nulls = (f"cast(null as {sql_of_dtype(dtype)}) as {identifier(name)}" for name, dtype in columns.items())
    return f"select {', '.join(nulls)} where false"
