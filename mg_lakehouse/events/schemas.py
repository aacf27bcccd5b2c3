"""Polars and Delta schemas, derived from the catalogue.

The silver schemas follow :mod:`mg_lakehouse.events.catalogue`; the bronze schema is declared here and
grows by nullable columns only: one is a metadata commit, after which every append in flight looks again.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import polars as pl
import pyarrow as pa

from mg_lakehouse.events.catalogue import Column, ColumnType, columns_of

__all__ = ["ACTIVITY_SCHEMA", "BRONZE_SCHEMA", "ERRORS", "LOADED_SCHEMA", "PARTITION_COLUMN", "TIMESTAMP", "in_arrow", "silver_schema"]

TIMESTAMP: Final = pl.Datetime("us", "UTC")
ERRORS: Final = pl.List(pl.Struct({"error_code": pl.String, "error_message": pl.String}))
PARTITION_COLUMN: Final = "received_date"

_DTYPES: Final[dict[ColumnType, pl.DataType]] = {
    "string": pl.String(),
    "int": pl.Int64(),
    "timestamp": TIMESTAMP,
    "date": pl.Date(),
    "bool": pl.Boolean(),
    "errors": ERRORS,
}

BRONZE_SCHEMA: Final = pl.Schema(
    {
        "message_id": pl.String(),
        "body": pl.String(),
        "body_sha256": pl.String(),
        "sent_at": TIMESTAMP,
        "received_at": TIMESTAMP,
        "receive_count": pl.Int64(),
        "attributes": pl.String(),
        "queue": pl.String(),
        "batch_id": pl.String(),
        "received_date": pl.Date(),
        "envelope": pl.String(),
    }
)
"""``bronze/event_feed``: one row per SQS message, the body as received. ``attributes`` is a JSON object; ``envelope`` names what the body's XML is in."""

ACTIVITY_SCHEMA: Final = pl.Schema(
    {
        **BRONZE_SCHEMA,
        "activity_date": pl.Date(),
        "activity_type": pl.String(),
        "file_sha256": pl.String(),
        "part": pl.Int64(),
        "parts": pl.Int64(),
    }
)
"""``bronze/account_activity``: one row per bundle that was cut out of a daily file. ``parts`` stands in a file's last bundle only."""

LOADED_SCHEMA: Final = pl.Schema({**BRONZE_SCHEMA, "file_name": pl.String(), "part": pl.Int64()})
"""``bronze/loaded_files``: one row per bundle of a file that somebody loaded. When it was sent nobody knows: ``sent_at`` is null."""


def in_arrow(texts: pl.Series) -> pa.LargeStringArray:
    """Texts as Arrow has them since its first version: behind each other, with one more offset than there are texts."""
    found = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    assert isinstance(found, pa.LargeStringArray)
    return found


def dtype_of(column: Column) -> pl.DataType:
    """Polars dtype of a column of the catalogue."""
    return _DTYPES[column.type]


@cache
def silver_schema(table: str) -> pl.Schema:
    """Polars schema of a silver table, in the contract's column order.

    Raises:
        KeyError: the catalogue has no such table.
    """
    return pl.Schema({column.name: dtype_of(column) for column in columns_of(table)})
