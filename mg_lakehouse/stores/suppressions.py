"""Whom to send nothing more to, for whoever sends: rows of gold's ``suppression_list`` as CSV or Parquet.

Addresses go into the file or the stream that was asked for, and nowhere else: no text of an error has one. What the rows mean is the dbt
project's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import duckdb
import pyarrow as pa

from mg_lakehouse.errors import PermanentError, TransientError
from mg_lakehouse.stores.duck import Snapshots, connect, text
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse.stores.output import draft, write_csv, write_parquet
from mg_lakehouse.suppressions import Format, Wanted

__all__ = ["export_file", "export_stream"]

_TABLE: Final = "suppression_list"
_BATCH_ROWS: Final = 10_000
_CSV_TIME: Final = "%Y-%m-%dT%H:%M:%S.%gZ"
_SEPARATOR: Final = ";"
"""Between the reasons of one row, in CSV."""


def export_stream(lake: Lake, wanted: Wanted, stream: TextIO) -> int:
    """Write the rows to a stream as CSV, in the order of channel and address, and return how many they are.

    Times are ISO 8601 in UTC, with milliseconds; the reasons of a row are separated by semicolons.

    Raises:
        PermanentError: the table was never built, or access to it is refused.
        TransientError: its store did not answer.
    """
    with _rows(lake, wanted, as_text=True) as rows:
        return write_csv(rows, stream)


def export_file(lake: Lake, wanted: Wanted, path: Path, file_format: Format) -> int:
    """Write the rows to a file that its owner alone may read, whole or not at all, and return how many they are.

    Raises:
        PermanentError: as for :func:`export_stream`, or the file cannot be written.
        TransientError: as for :func:`export_stream`.
    """
    with _rows(lake, wanted, as_text=file_format == "csv") as rows, draft(path) as file:
        if file_format == "parquet":
            return write_parquet(rows, file)
        with file.open("w", encoding="utf-8", newline="") as stream:
            return write_csv(rows, stream)


@contextmanager
def _rows(lake: Lake, wanted: Wanted, *, as_text: bool) -> Iterator[pa.RecordBatchReader]:
    """The rows, batch by batch; with ``as_text`` no column is a time or a list."""
    handle = lake.open("gold", _TABLE)
    if handle is None:
        raise PermanentError(f"gold/{_TABLE} in the lake {lake.uri} was never built: run `mg-lakehouse run`, or build gold in Dagster.")
    with connect(lake) as duck:
        try:
            columns = ", ".join(_column(field.name, str(field.type.type), as_text=as_text) for field in handle.schema().fields)
            query = f"select {columns} from {Snapshots(duck.cursor).of(handle)} where {_condition(wanted)} order by channel, address"
            yield duck.execute(query).to_arrow_reader(_BATCH_ROWS)
        except duckdb.Error as error:
            raise TransientError(f"gold/{_TABLE} in the lake {lake.uri} could not be read ({type(error).__name__}): try again.") from error


def _condition(wanted: Wanted) -> str:
    parts = ["true"]
    if wanted.since is not None:
        parts.append(f"newest_reason_at >= timestamptz '{wanted.since} 00:00:00+00'")
    if wanted.channel is not None:
        parts.append(f"channel = {text(wanted.channel)}")
    if wanted.reason is not None:
        parts.append(f"list_contains(reasons, {text(wanted.reason)})")
    return " and ".join(parts)


def _column(name: str, delta_type: str, *, as_text: bool) -> str:
    if as_text and delta_type == "timestamp":
        return f"strftime({name}, {text(_CSV_TIME)}) as {name}"
    if as_text and delta_type == "array":
        return f"array_to_string({name}, {text(_SEPARATOR)}) as {name}"
    return name
