"""Defines what a Delta table is created with, and compares an existing one with it: columns, properties, statistics, features.

The layers define their tables: :mod:`mg_lakehouse.bronze.tables`, :mod:`mg_lakehouse.silver.tables`, the dbt project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, Schema

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.lake.errors import FEATURE_REMEDY
from mg_lakehouse.location import Layer

__all__ = [
    "CHANGE_FEED_PROPERTY",
    "CONTRACT_VERSION",
    "STATISTICS_PROPERTY",
    "TableSpec",
    "arrow_schema",
    "columns_of_table",
    "delta_schema",
    "missing_columns",
    "missing_statistics",
    "refuse_newer_contract",
    "refuse_unread_features",
    "table_properties",
]

CONTRACT_VERSION: Final = 1
"""Version of the tables' meaning. A lake written under a higher one is refused, not guessed at."""

_COLUMN_MAPPING: Final = 2
"""Reader version whose only feature is this one."""

_HARMLESS_FEATURES: Final = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
"""Reader features that do not affect what is in a data file."""

_CONTRACT_PROPERTY: Final = "mg_lakehouse.contractVersion"

STATISTICS_PROPERTY: Final = "delta.dataSkippingStatsColumns"
CHANGE_FEED_PROPERTY: Final = "delta.enableChangeDataFeed"


@dataclass(frozen=True, slots=True)
class TableSpec:
    """The definition of a Delta table. A new table is created with it; a table of an older release gets the columns that it lacks.

    ``stats_columns`` are the only columns whose minima and maxima go into the Delta log: never one that
    holds an address or text, for anybody who may list the lake can read the log.
    """

    layer: Layer
    name: str
    schema: pl.Schema
    stats_columns: tuple[str, ...]
    partition_by: tuple[str, ...] = ("received_date",)
    description: str = ""
    append_only: bool = False
    has_change_feed: bool = True
    comments: Mapping[str, str] = field(default_factory=dict)


def arrow_schema(handle: DeltaTable) -> pa.Schema:
    """Return the columns of a table, in Arrow's types."""
    exported: Any = handle.schema().to_arrow()  # an Arrow object of another library, by the C interface
    return pa.schema(exported)


def columns_of_table(handle: DeltaTable) -> pl.Schema:
    """Return the columns of a table, in Polars' types."""
    return pl.DataFrame(arrow_schema(handle).empty_table()).schema


def missing_columns(handle: DeltaTable, spec: TableSpec, what: str) -> tuple[str, ...]:
    """Return the names of the columns that a table lacks.

    Raises:
        PermanentError: the table has a column that ``spec`` lacks (a newer release would take rows without it for its own), or one of
            another type.
    """
    existing = columns_of_table(handle)
    if unknown := [name for name in existing if name not in spec.schema]:
        raise PermanentError(
            f"{what} has the column {unknown[0]}, which this mg-lakehouse does not know, and would get rows without it: "
            "a newer release wrote here. Upgrade mg-lakehouse."
        )
    for name, dtype in existing.items():
        if dtype != spec.schema[name]:
            raise PermanentError(
                f"The column {name} of {what} is {dtype}, and this mg-lakehouse writes {spec.schema[name]}: use the release that made the "
                "table, or give the column of the catalogue another name."
            )
    return tuple(name for name in spec.schema if name not in existing)


def missing_statistics(handle: DeltaTable, spec: TableSpec, lacking: Sequence[str]) -> str | None:
    """Return the new value of the property for columns with statistics; ``None`` if it names all new columns that have some.

    Existing columns stay as they are: a user may have chosen them.
    """
    value = handle.metadata().configuration.get(STATISTICS_PROPERTY)
    named = value.split(",") if value else []
    new = [name for name in spec.stats_columns if name in lacking and name not in named]
    return ",".join([*named, *new]) if new else None


def refuse_newer_contract(handle: DeltaTable, what: str) -> None:
    """Raise a PermanentError if a table was written by a newer contract."""
    written = int(handle.metadata().configuration.get(_CONTRACT_PROPERTY, CONTRACT_VERSION))
    if written > CONTRACT_VERSION:
        raise PermanentError(
            f"{what} was written by contract version {written}, and this mg-lakehouse knows {CONTRACT_VERSION}: upgrade mg-lakehouse."
        )


def refuse_unread_features(handle: DeltaTable, what: str) -> None:
    """Refuse features that change data files. Files are read as they are: with deletion vectors, deleted rows would come back."""
    protocol = handle.protocol()
    named = protocol.reader_features or (["columnMapping"] if protocol.min_reader_version == _COLUMN_MAPPING else [])
    if unread := sorted(set(named) - _HARMLESS_FEATURES):
        raise PermanentError(f"{what} uses Delta's {unread[0]}, which mg-lakehouse does not read: {FEATURE_REMEDY}")


def table_properties(spec: TableSpec) -> dict[str, str | None]:
    """Return the properties that a table is created with."""
    properties: dict[str, str | None] = {
        _CONTRACT_PROPERTY: str(CONTRACT_VERSION),
        STATISTICS_PROPERTY: ",".join(spec.stats_columns),
        # A layer reads the one below through its change feed; without this property, the feed cannot be read across a
        # metadata commit, the first one included. It adds nothing to the cost of an append, and half to that of a replacement.
        CHANGE_FEED_PROPERTY: str(spec.has_change_feed).lower(),
        # Batch markers carry `last_updated` and expire; a fencing counter carries none and never does.
        "delta.setTransactionRetentionDuration": "interval 30 days",
        # Delta's own 30 days are 86,400 entries where a batch comes every 30 seconds, and opening a local table lists them all:
        # 0.36 s for 80,000, 0.03 s for 20,000. Maintenance sets another number where MG_KEEP_LOG_DAYS says so.
        "delta.logRetentionDuration": "interval 7 days",
    }
    if spec.append_only:
        properties["delta.appendOnly"] = "true"
    return properties


def delta_schema(spec: TableSpec) -> Schema:
    """Return the columns of a table in Delta's types, with their comments."""
    arrow = pl.DataFrame(schema=spec.schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    for index, name in enumerate(arrow.names):
        if comment := spec.comments.get(name):
            arrow = arrow.set(index, arrow.field(index).with_metadata({"comment": comment}))
    return Schema.from_arrow(arrow)
