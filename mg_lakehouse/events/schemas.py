"""Polars schemas of the silver tables, derived from the catalogue, and the map of types for Polars and DuckDB."""

from __future__ import annotations

from functools import cache
from typing import Final

import polars as pl
import pyarrow as pa

from mg_lakehouse.events.catalogue import Column, ColumnType, columns_of

__all__ = ["ERRORS", "TIMESTAMP", "dtype_of", "dtype_of_sql", "in_arrow", "silver_schema", "sql_of_dtype", "sql_type_of"]

TIMESTAMP: Final = pl.Datetime("us", "UTC")
ERRORS: Final = pl.List(pl.Struct({"error_code": pl.String, "error_message": pl.String}))

_TYPES: Final[dict[ColumnType, tuple[pl.DataType, str]]] = {
    "string": (pl.String(), "varchar"),
    "int": (pl.Int64(), "bigint"),
    "timestamp": (TIMESTAMP, "timestamptz"),
    "date": (pl.Date(), "date"),
    "bool": (pl.Boolean(), "boolean"),
    "errors": (ERRORS, "struct(error_code varchar, error_message varchar)[]"),
}
"""The types of Polars and DuckDB, by the catalogue's type."""

_GOLD_TYPES: Final[dict[str, pl.DataType]] = {
    **{sql: dtype for dtype, sql in _TYPES.values()},
    "timestamp with time zone": TIMESTAMP,
    "double": pl.Float64(),
    "varchar[]": pl.List(pl.String()),
    "date[]": pl.List(pl.Date()),
}
"""The type of Polars, by its name in a dbt model's contract; gold has types that silver lacks."""

_SQL_TYPES: Final = {dtype: sql for sql, dtype in reversed(_GOLD_TYPES.items())}


def in_arrow(texts: pl.Series) -> pa.LargeStringArray:
    """Return texts in Arrow's first layout: one after the other, with one more offset than there are texts."""
    array = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    assert isinstance(array, pa.LargeStringArray)
    return array


def dtype_of(column: Column) -> pl.DataType:
    """Return the Polars dtype of a column of the catalogue."""
    return _TYPES[column.type][0]


def sql_type_of(column: Column) -> str:
    """Return DuckDB's name for the type of a column of the catalogue."""
    return _TYPES[column.type][1]


def dtype_of_sql(name: str) -> pl.DataType:
    """Return the Polars dtype for DuckDB's name of a type, in any case.

    Raises:
        KeyError: no table of ours has a column of this type.
    """
    return _GOLD_TYPES[name.lower()]


def sql_of_dtype(dtype: pl.DataType) -> str:
    """Return DuckDB's name for a Polars dtype.

    Raises:
        KeyError: no table of ours has a column of this type.
    """
    return _SQL_TYPES[dtype]


@cache
def silver_schema(table: str) -> pl.Schema:
    """Return the Polars schema of a silver table, in the contract's column order.

    Raises:
        KeyError: the catalogue has no such table.
    """
    return pl.Schema({column.name: dtype_of(column) for column in columns_of(table)})
