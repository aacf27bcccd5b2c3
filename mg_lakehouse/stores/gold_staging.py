"""The rows of a gold model on their way from DuckDB to the commit: a table of DuckDB's, or, built in parts, a file for each part.

All rows of a model are made before its commit begins, so that a try of the commit costs no computation, and a fault of the SQL is none of
the store's. In DuckDB itself they would take their full size in memory, or in what it spills; in a compressed file they take a tenth.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
from pyarrow import parquet

from mg_lakehouse.stores import duck

__all__ = ["StagedRows"]

_BATCH_ROWS: Final = 65_536


class StagedRows:
    """What a model's SQL made: the DuckDB table ``staged.<name>``, and the parts that were put by. Rows are in order within a part."""

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection], name: str, order: Sequence[str]) -> None:
        self._cursor = cursor
        self._table = f"staged.{duck.identifier(name)}"
        self._ordered = f"from {self._table} order by {', '.join(order)}"
        self._folder: Path | None = None
        self._files: list[Path] = []

    @property
    def parts(self) -> int:
        """How many parts were put by."""
        return len(self._files)

    def put_by(self) -> None:
        """Move the table's rows into a file, and make room for those of another part."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="staged-", dir=duck.private_folder()))
        file = self._folder / f"{self.parts}.parquet"
        cursor = self._cursor()
        cursor.execute(f"copy ({self._ordered}) to {duck.text(str(file))} (format parquet, compression zstd, compression_level 1)")
        cursor.execute(f"drop table {self._table}")
        self._files.append(file)

    def rows(self) -> pa.RecordBatchReader:
        """All rows, anew each time: of the parts where some were put by, else of the table."""
        if not self._files:
            return self._cursor().execute(self._ordered).to_arrow_reader(_BATCH_ROWS)
        return pa.RecordBatchReader.from_batches(parquet.read_schema(self._files[0]), self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for file in self._files:
            with parquet.ParquetFile(file) as opened:
                yield from opened.iter_batches(_BATCH_ROWS)

    def remove(self) -> None:
        """Forget the rows."""
        self._cursor().execute(f"drop table if exists {self._table}")
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
