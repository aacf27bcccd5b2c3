"""The data files of a Delta table that can hold the rows of some keys, by what the table's log says of each file.

A job's rows lie in few of the files, but its id tells little of which: ids begin with a letter for the kind of job, so that the least and
the greatest id of a day span those of every other day. So a file is also left out where no job that it could hold has a row
on any of its days.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.lake.file_stats import data_files
from mg_lakehouse.lake.sql import file_list

__all__ = ["File", "Files", "JobDays", "read_addresses", "read_files", "rows_of"]

_JOB: Final = "request_id"
_LAST: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class JobDays:
    """The days on which some jobs have rows, in order, and the least and the greatest id of those that have rows on each."""

    days: Sequence[date]
    ids: Sequence[tuple[str, str]]

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[date, str, str]]) -> JobDays:
        """From rows of a day, the least and the greatest id."""
        ordered = sorted(rows)
        return cls([day for day, _, _ in ordered], [(low, high) for _, low, high in ordered])

    def meet(self, file: File) -> bool:
        """Whether one of the jobs can have a row in a file."""
        if file.first_day is None or file.last_day is None:
            return True
        ids = self.ids[bisect_left(self.days, file.first_day) : bisect_right(self.days, file.last_day)]
        if file.low is None or file.high is None:
            return bool(ids)
        return any(low <= file.high + _LAST and high >= file.low for low, high in ids)


class File(NamedTuple):
    """A data file and its statistics; ``None`` for what the log does not say. ``low`` and ``high`` are of `request_id`, and may be cut short."""

    address: str
    rows: int | None
    low: str | None
    high: str | None
    orphans: int | None
    first_day: date | None = None
    last_day: date | None = None


class Files:
    """The data files of a table. ``time_column`` is the date or the time that says which day a row is of, where the table has one."""

    def __init__(self, handle: DeltaTable, time_column: str | None) -> None:
        of_days = [] if time_column is None else [time_column]
        known = data_files(handle, _JOB, *of_days)
        days = [pl.col(f"{bound}.{column}").cast(pl.Date).clip(date.min, date.max) for column in of_days for bound in ("min", "max")]
        rows = known.select("address", "rows", f"min.{_JOB}", f"max.{_JOB}", f"nulls.{_JOB}", *days).rows()
        self._files = [File(*row) for row in rows]

    def all(self) -> list[File]:
        """All of them."""
        return self._files

    def holding(self, ordered: Sequence[str], job_days: JobDays | None = None) -> list[File]:
        """Those that can hold a row of one of the sorted ids; ``job_days`` are all the days on which those jobs have rows, where that is known."""
        return [file for file in self._files if _holds(file, ordered) and (job_days is None or job_days.meet(file))]

    def with_days(self, ordered: Sequence[date]) -> list[File]:
        """Those that can hold a row of one of the sorted days."""
        return [file for file in self._files if _has_day(file, ordered)]

    def with_orphans(self, ordered: Sequence[date]) -> list[File]:
        """Those that can hold a row without a `request_id` on one of the sorted days."""
        return [file for file in self._files if (file.orphans is None or file.orphans > 0) and _has_day(file, ordered)]


def _holds(file: File, ordered: Sequence[str]) -> bool:
    if file.low is None or file.high is None:
        return bool(ordered) and (file.orphans is None or file.orphans != file.rows)
    # A long maximum is cut short, so anything that begins with it can be in the file.
    return bisect_left(ordered, file.low) < bisect_right(ordered, file.high + _LAST)


def _has_day(file: File, ordered: Sequence[date]) -> bool:
    if file.first_day is None or file.last_day is None:
        return True
    return bisect_left(ordered, file.first_day) < bisect_right(ordered, file.last_day)


def rows_of(files: Iterable[File]) -> float:
    """How many rows some files hold; infinite where one does not say."""
    return sum(float("inf") if file.rows is None else file.rows for file in files)


def read_files(files: Sequence[File]) -> str:
    """SQL of the rows of some files, as a source of a ``from``."""
    return read_addresses([file.address for file in files])


def read_addresses(addresses: Sequence[str], *, numbered: bool = False) -> str:
    """SQL of the rows of the files at some addresses, as a source of a ``from``; with the column ``file_row_number`` where asked."""
    return (
        f"read_parquet({file_list(addresses)}, union_by_name = true, hive_partitioning = false, file_row_number = {str(numbered).lower()})"
    )
