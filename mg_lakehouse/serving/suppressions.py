"""Whom to send nothing more to, for whoever sends: rows of gold's ``suppression_list``, or of ``suppression_removals``, as CSV or Parquet.

Addresses go into the file or the stream that was asked for, and nowhere else: no text of an error has one. What the rows mean is the dbt
project's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Final, NamedTuple, TextIO

import duckdb
import pyarrow as pa

from mg_lakehouse.errors import PermanentError, TransientError
from mg_lakehouse.gold.contract import EXPORTED_BY, SUPPRESSION_LIST, SUPPRESSION_REMOVALS
from mg_lakehouse.gold.exports import Exports, marked_exports
from mg_lakehouse.lake.duck import connect
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.rows_out import draft, write_csv, write_parquet
from mg_lakehouse.lake.snapshot import scan
from mg_lakehouse.lake.sql import text, time_literal
from mg_lakehouse.serving.suppression_filter import Exported, Format, Wanted

__all__ = ["export_file", "export_stream"]

_BATCH_ROWS: Final = 10_000
_CSV_TIME: Final = "%Y-%m-%dT%H:%M:%S.%gZ"
_SEPARATOR: Final = ";"
"""Between the reasons of one row, in CSV."""


def export_stream(lake: Lake, wanted: Wanted, stream: TextIO) -> Exported:
    """Write the rows to a stream as CSV, in the order of channel and address.

    Times are ISO 8601 in UTC, with milliseconds; the reasons of a row are separated by semicolons.

    Raises:
        PermanentError: the table was never built, or access to it is refused.
        TransientError: its store did not answer.
    """
    with _rows(lake, wanted, as_text=True) as asked:
        return asked.exported(write_csv(asked.rows, stream))


def export_file(lake: Lake, wanted: Wanted, path: Path, file_format: Format) -> Exported:
    """Write the rows to a file that its owner alone may read, whole or not at all.

    Raises:
        PermanentError: as for :func:`export_stream`, or the file cannot be written.
        TransientError: as for :func:`export_stream`.
    """
    with _rows(lake, wanted, as_text=file_format == "csv") as asked, draft(path) as file:
        if file_format == "parquet":
            return asked.exported(write_parquet(asked.rows, file))
        with file.open("w", encoding="utf-8", newline="") as stream:
            return asked.exported(write_csv(asked.rows, stream))


class _Asked(NamedTuple):
    """Rows batch by batch, what their table says of exports, and whether a mark that was given is not gone by."""

    rows: pa.RecordBatchReader
    exports: Exports
    is_whole: bool

    def exported(self, rows: int) -> Exported:
        return Exported(rows, self.exports.read_to, self.is_whole)


@contextmanager
def _rows(lake: Lake, wanted: Wanted, *, as_text: bool) -> Iterator[_Asked]:
    """The rows that are asked for; with ``as_text`` no column is a time or a list."""
    table = SUPPRESSION_LIST if wanted.removed_since is None else SUPPRESSION_REMOVALS
    handle = lake.open("gold", table)
    columns = [] if handle is None else [(field.name, str(field.type.type)) for field in handle.schema().fields]
    if handle is None or EXPORTED_BY[table] not in dict(columns):
        raise PermanentError(
            f"gold/{table} in the lake {lake.uri} was never built{'' if handle is None else ' by this release'}: "
            "run `mg-lakehouse run`, or build gold in Dagster."
        )
    exports, mark = marked_exports(handle), wanted.since or wanted.removed_since
    is_whole = mark is not None and exports.is_restated_since(mark)
    with connect(lake) as duck:
        try:
            shown = ", ".join(_column(name, delta_type, as_text=as_text) for name, delta_type in columns)
            since = None if is_whole else mark
            query = f"select {shown} from {scan(handle)} where {_condition(wanted, since)} order by channel, address"
            yield _Asked(duck.execute(query).to_arrow_reader(_BATCH_ROWS), exports, is_whole)
        except duckdb.Error as error:
            raise TransientError(f"gold/{table} in the lake {lake.uri} could not be read ({type(error).__name__}): try again.") from error


def _condition(wanted: Wanted, since: datetime | None) -> str:
    parts = ["true"]
    if since is not None:
        parts.append(f"{'listed_at' if wanted.removed_since is None else 'removed_at'} >= {time_literal(since)}")
    if wanted.evidence_since is not None:
        parts.append(f"newest_reason_at >= {time_literal(datetime.combine(wanted.evidence_since, time.min, UTC))}")
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
