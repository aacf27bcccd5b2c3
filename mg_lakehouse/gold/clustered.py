"""Tables that a build reads part by part, put into the order of the parts once.

The jobs of a chunk began within a few days, but their opens and clicks come for a year: each of 91 chunks read the ids of 365 files, and so did each
model that reads them. So wasted reads are counted. Once they are the whole table many times over, its rows are copied to files of this process, by chunk.
With 100 M rows a chunk of ``client_days`` took 4.2 s longer without the copies of opens and clicks, and making them took 100 s, some twenty times
that. Hence ``WASTED_READS``: a build never takes much more than twice what the better way would have taken.

The copy needs as much room in the temporary folder as the table takes; without that room the table's own files are read as before.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb

from mg_lakehouse.gold.job_files import File, read_addresses, read_files, rows_of
from mg_lakehouse.gold.staging import SMALL_GROUPS
from mg_lakehouse.lake.sql import identifier, text

__all__ = ["WASTED_READS", "ClusteredRows"]

WASTED_READS: Final = 16
"""A table is copied after its rows were read this many times for chunks that had none of them."""

_PART: Final = "__part"


@dataclass(slots=True)
class _Table:
    """A table at a version: the rows looked at in vain, and its copy, where there is one. ``part_of`` has the part of each job, ``others`` is that of all others."""

    in_vain: float = 0
    files: list[str] = field(default_factory=list)
    part_of: str = ""
    others: int = 0
    is_refused: bool = False


class ClusteredRows:
    """The copies of one build. Not safe to use from several threads at once.

    ``run_rows`` are the rows that are put into order at a time, ``folder`` is where the copies are kept.
    """

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection], *, run_rows: int, folder: Path) -> None:
        self._cursor = cursor
        self._folder = folder
        self._run_rows = run_rows
        self._tables: dict[tuple[str, int], _Table] = {}

    def of(self, version: tuple[str, int], every: Sequence[File], wanted: Sequence[File], *, parts: int, cut: str, requests: str) -> str:
        """SQL of rows of a table, as a source of a ``from``: at least those of the jobs of a part.

        Args:
            version: the table's address and version.
            every: all of its files.
            wanted: those of them that can hold rows of the jobs.
            parts: how many parts there are.
            cut: the DuckDB table ``request_id, part`` of all of them.
            requests: the DuckDB table ``request_id`` of the jobs.
        """
        table = self._tables.setdefault(version, _Table())
        if not table.files and not table.is_refused:
            # About its share of the table is a part's own.
            table.in_vain += max(0, rows_of(wanted) - rows_of(every) / parts)
            if table.in_vain > WASTED_READS * rows_of(every):
                self._copy(table, every, cut, parts)
        if not table.files:
            return read_files(wanted)
        low, high = self._cursor().execute(
            f"""
            select min(coalesce(part, {table.others})), max(coalesce(part, {table.others}))
            from {requests}
            left join {table.part_of} using (request_id)
            """
        ).fetchone() or (None, None)
        return f"(select * exclude ({_PART}) from {read_addresses(table.files)} where {_PART} between {low} and {high})"

    def _copy(self, table: _Table, every: Sequence[File], cut: str, parts: int) -> None:
        try:
            folder = Path(tempfile.mkdtemp(prefix="clustered-", dir=self._folder))
        except OSError:  # no room, as below
            table.is_refused = True
            return
        cursor = self._cursor()
        part_of = f"clustered.{identifier(folder.name)}"
        cursor.execute("create schema if not exists clustered")
        cursor.execute(f"create table {part_of} as select request_id, part from {cut} where request_id is not null")
        files = []
        try:
            for number, run in enumerate(_runs(every, self._run_rows)):
                files.append(str(folder / f"{number}.parquet"))
                cursor.execute(
                    f"""
                    copy (
                        select held.*, cast(coalesce(part, {parts}) as integer) as {_PART}
                        from {run} as held
                        left join {part_of} using (request_id)
                        where request_id is not null
                        order by {_PART}, request_id
                    ) to {text(files[-1])} ({SMALL_GROUPS})
                    """
                )
        except duckdb.IOException:  # no room: what it is for is speed, and the table's own files serve as well
            shutil.rmtree(folder, ignore_errors=True)
            table.is_refused = True
            return
        table.files, table.part_of, table.others = files, part_of, parts


def _runs(files: Sequence[File], run_rows: int) -> Iterator[str]:
    """SQL of the rows of files, about so many at a time, as sources of a ``from``: days that follow each other, or a piece of a large file."""
    together: list[File] = []
    for file in sorted(files, key=lambda file: (str(file.first_day or ""), file.address)):
        rows = file.rows or 0
        if together and rows_of(together) + rows > run_rows:
            yield read_files(together)
            together = []
        if rows <= run_rows:
            together.append(file)
            continue
        for start in range(0, rows, run_rows):
            numbered = read_addresses([file.address], numbered=True)
            yield f"(select * exclude (file_row_number) from {numbered} where file_row_number between {start} and {start + run_rows - 1})"
    if together:
        yield read_files(together)
