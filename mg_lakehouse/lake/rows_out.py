"""Writes rows to files and streams: CSV, JSON and Parquet. A file is written whole or not at all."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Number
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from mg_lakehouse._util.escaping import for_csv
from mg_lakehouse._util.temp_folders import OwnFolder
from mg_lakehouse.errors import PermanentError

__all__ = ["draft", "write_csv", "write_json", "write_parquet"]


def write_csv(rows: pa.RecordBatchReader, stream: TextIO) -> int:
    """Write rows with a header, and return their number. A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    written = 0
    write = _row_writer(stream)
    write(rows.schema.names)
    for batch in rows:
        for row in zip(*map(_cells, batch.columns), strict=True):
            write(row)
        written += batch.num_rows
    return written


def _row_writer(stream: TextIO) -> Callable[[Sequence[Any]], object]:
    """Return a function that writes a row. Python's writer (3.11) leaves a carriage return bare, where readers end the row: such a row is quoted as a whole."""
    plain = csv.writer(stream, lineterminator="\n")
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)

    def write(row: Sequence[Any]) -> object:
        cells = [value if value is None or isinstance(value, Number) else for_csv(str(value)) for value in row]
        return (quoted if any(isinstance(cell, str) and "\r" in cell for cell in cells) else plain).writerow(cells)

    return write


def write_json(rows: pa.RecordBatchReader, stream: TextIO) -> int:
    """Write rows as one JSON array, an object per line, and return their number. Times are ISO 8601."""
    written = 0
    stream.write("[")
    for batch in rows:
        for row in zip(*map(_cells, batch.columns), strict=True):
            item = dict(zip(batch.schema.names, row, strict=True))
            stream.write(f"{',' if written else ''}\n{json.dumps(item, default=_json, ensure_ascii=False)}")
            written += 1
    stream.write("\n]\n" if written else "]\n")
    return written


def _cells(column: pa.Array[Any]) -> list[Any]:
    """Convert a column to Python's types. A time or date that Python cannot hold, of the year 10000 or with nanoseconds, becomes its text.

    Raises:
        OverflowError, ValueError: such a value is within a list or struct.
    """
    try:
        return column.to_pylist()
    except (OverflowError, ValueError):
        if not pa.types.is_temporal(column.type):
            raise
        return [_cell(value) for value in column]


def _cell(value: pa.Scalar[Any]) -> Any:
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return value.cast(pa.string()).as_py()


def _json(value: object) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def write_parquet(rows: pa.RecordBatchReader, path: Path) -> int:
    """Write rows to a file, and return their number."""
    written = 0
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch)
            written += batch.num_rows
    return written


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """Yield a file beside ``path``, of mode 0600, that replaces it when the block ends and is removed when it fails, by the next one after a kill.

    Raises:
        PermanentError: the file cannot be written.
    """
    try:
        path.parent.stat()  # a folder of a mistyped name is not made
        with OwnFolder(path.parent, f".{path.name}.mg-lakehouse-") as folder:
            file = folder.path / "draft"
            file.touch(mode=0o600)
            yield file
            with file.open("rb") as written:
                os.fsync(written.fileno())
            file.replace(path)
    except OSError as error:
        raise PermanentError(f"The file {path} cannot be written ({error.strerror}): choose another.") from error
