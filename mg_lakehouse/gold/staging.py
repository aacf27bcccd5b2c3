"""The rows of a gold model on their way from DuckDB to the commit: a table of DuckDB's, or, built in parts, a file for each part.

They go into the commit in the order of their jobs, whatever part they were made in: so a job stands in one file or two of the table, and a
refresh rewrites no more. In the order of the parts, each part had a file that could hold the job.

All rows of a model are made before its commit begins, so that a try of the commit costs no computation, and a fault of the SQL is none of
the store's. In DuckDB itself they would take their full size in memory, or in what it spills; in a compressed file they take a tenth.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from mg_lakehouse.gold.contract import STAGED_SCHEMA
from mg_lakehouse.lake.sql import file_list, identifier, text

__all__ = ["SMALL_GROUPS", "StagedRows"]

_BATCH_ROWS: Final = 65_536
_SAMPLE: Final = 20_000

SMALL_GROUPS: Final = "format parquet, compression zstd, compression_level 1, row_group_size 16384"
"""How DuckDB writes a file of its own: in small groups of rows, so that a range of jobs is read without the rest."""


class StagedRows:
    """What a model's SQL made: the DuckDB table ``staged.<name>``, or the parts of it that were put by.

    ``cursor`` is one of the build, ``reader`` makes one of its own. ``order`` are the columns that the rows come in the order of, the job first in a model that is built in parts.
    ``count`` is how many rows the table was made of, ``written`` the source of those of them that are written, by default all.
    ``part_rows`` are the rows that are put into order at a time, ``columns`` those of the result in their order, by default all,
    ``folder`` where files of them may be kept.
    """

    def __init__(
        self,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        reader: Callable[[], duckdb.DuckDBPyConnection],
        name: str,
        order: Sequence[str],
        *,
        part_rows: int,
        folder: Path,
        columns: Sequence[str] = (),
    ) -> None:
        self._cursor = cursor
        self._new_reader = reader
        self._parent = folder
        self._select = f"select {', '.join(map(identifier, columns)) or '*'}"
        self.table = f"{STAGED_SCHEMA}.{identifier(name)}"
        self._order = f"order by {', '.join(order)}"
        self._part_rows = part_rows
        self._folder: Path | None = None
        self._files: list[str] = []
        self.count = 0
        self.written = self.table

    @property
    def parts(self) -> int:
        """How many parts were put by."""
        return len(self._files)

    def spill(self) -> None:
        """Move the table's rows into a file, and make room for those of another part."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="staged-", dir=self._parent))
        file = str(self._folder / f"{self.parts}.parquet")
        cursor = self._cursor()
        cursor.execute(f"copy ({self._select} from {self.table} {self._order}) to {text(file)} ({SMALL_GROUPS})")
        cursor.execute(f"drop table {self.table}")
        self._files.append(file)

    def rows(self) -> pa.RecordBatchReader:
        """All rows in order, anew each time: of the parts where some were put by, else of the table."""
        if not self._files:
            return self._reader(f"{self._select} from {self.written} {self._order}")
        pieces = self._pieces()
        return pa.RecordBatchReader.from_batches(
            self._reader(f"{pieces[0]} limit 0").schema, (batch for piece in pieces for batch in self._reader(piece))
        )

    def remove(self) -> None:
        """Forget the rows."""
        self._cursor().execute(f"drop table if exists {self.table}")
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _reader(self, query: str) -> pa.RecordBatchReader:
        return self._new_reader().execute(query).to_arrow_reader(_BATCH_ROWS)

    def _pieces(self) -> list[str]:
        """Queries of the rows of all parts, that follow each other in order. What belongs to no job is in the order of the parts, by day."""
        every_part = f"from read_parquet({file_list(self._files)})"
        bounds = self._bounds(every_part)
        jobs = [f"{every_part} where {_range(low, high)} {self._order}" for low, high in pairwise([None, *bounds, None])]
        return jobs + [f"from read_parquet({file_list([file])}) where request_id is null {self._order}" for file in self._files]

    def _bounds(self, every_part: str) -> list[str]:
        """Ids that cut the rows into pieces of about ``part_rows``, by a sample of them."""
        cursor = self._cursor()
        counted = cursor.execute(f"select count(request_id) {every_part}").fetchone()
        pieces = 1 if counted is None else -(-int(counted[0]) // self._part_rows)
        sample = f"select request_id {every_part} where request_id is not null using sample reservoir({_SAMPLE} rows) repeatable (1)"
        ids = [str(row[0]) for row in cursor.execute(f"select request_id from ({sample}) order by 1").fetchall()]
        return sorted({ids[len(ids) * piece // pieces] for piece in range(1, pieces)}) if ids else []


def _range(low: str | None, high: str | None) -> str:
    """SQL of the rows of jobs from one id on and before another."""
    conditions = ["request_id is not null"]
    if low is not None:
        conditions.append(f"request_id >= {text(low)}")
    if high is not None:
        conditions.append(f"request_id < {text(high)}")
    return " and ".join(conditions)
