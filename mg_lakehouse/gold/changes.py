"""The silver tables that a gold build reads: each at one version from begin to end, and which keys changed in it since an older one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.commit import ABSENT, Watermark
from mg_lakehouse.gold.duplicates import Duplicates, duplicates_above
from mg_lakehouse.lake.durable import make_durable
from mg_lakehouse.lake.file_stats import data_files
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.snapshot import no_rows, scan
from mg_lakehouse.lake.sql import identifier

__all__ = ["SilverTables", "empty_rows"]

_RECEIVED: Final = "received_at"
_KEYS: Final = {"request_id": "varchar", "event_date": "date", "received_date": "date"}


class SilverTables:
    """The silver tables of one build, pinned when the first is looked at. Safe to use from several threads."""

    def __init__(self, lake: Lake, cursor: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._lake = lake
        self._cursor = cursor
        self._lock = threading.RLock()
        self._pins: Mapping[str, DeltaTable | None] | None = None
        self._read: dict[str, str | None] = {}
        self._reading: dict[str, threading.Lock] = {}
        self._dropped: dict[tuple[str, int], list[Duplicates]] = {}

    @property
    def ids(self) -> dict[str, str | None]:
        """Id of every silver table, ``None`` for those that do not exist."""
        return {name: None if handle is None else str(handle.metadata().id) for name, handle in self._pinned().items()}

    def handle(self, name: str) -> DeltaTable | None:
        """A table at its pinned version."""
        return self._pinned()[name]

    def handles(self, names: Sequence[str]) -> dict[str, DeltaTable]:
        """Those of some tables that exist, at their pinned versions."""
        return {name: handle for name in names if (handle := self.handle(name)) is not None}

    def source(self, name: str) -> str:
        """SQL of all rows of a table."""
        handle = self.handle(name)
        return empty_rows(name) if handle is None else f"select * from {scan(handle)}"

    def included(self, tables: Sequence[str]) -> dict[str, Watermark]:
        """What whoever reads these tables now includes."""
        pinned = self._pinned()
        return {name: ABSENT if (handle := pinned[name]) is None else _included(handle) for name in tables}

    def changes(self, name: str, before: Watermark, now: Watermark) -> str | None:
        """Name of the DuckDB table of the keys of what changed, each once; empty text for nothing, ``None`` where it cannot be known.

        The keys are ``request_id, event_date, received_date``, null for those that the table does not have.
        """
        if before == now:
            return ""
        if before.incarnation not in {now.incarnation, ABSENT.incarnation} or before.version >= now.version:
            return None
        handle = self.handle(name)
        if handle is None:
            return None
        table = f"touched.{identifier(f'{name}_{before.version}_{now.version}')}"
        with self._lock:
            reading = self._reading.setdefault(table, threading.Lock())
        with reading:
            if table not in self._read:
                self._read[table] = self._read_changes(handle, table, before.version, now.version)
            return self._read[table]

    def arrived(self, name: str, before: Watermark, now: Watermark, columns: Sequence[str], table: str) -> bool:
        """Make ``table`` of the rows that came to a silver table since an older version, with some of its columns, each combination once.

        A row that was only written again is none of them. Returns whether these are all changes: not where a combination was lost, or where it
        cannot be known.
        """
        handle = self.handle(name)
        read = [] if handle is None else [field.name for field in handle.schema().fields if field.name in columns]
        if handle is None or before.incarnation not in {now.incarnation, ABSENT.incarnation} or before.version > now.version:
            return False
        cursor = self._cursor()
        try:
            feed: Any = handle.load_cdf(starting_version=before.version + 1, ending_version=now.version, columns=[*read, "_change_type"])
            cursor.register("feed", pa.RecordBatchReader.from_stream(feed))
            cursor.execute(
                f"""
                create or replace table {table} as
                select {", ".join(map(identifier, read))}, sum(case when _change_type in ('insert', 'update_postimage') then 1 else -1 end) as balance
                from feed
                group by all
                having balance <> 0
                """
            )
        except (DeltaError, OSError, duckdb.Error, pa.ArrowException):
            return False
        lost = cursor.execute(f"select 1 from {table} where balance < 0 limit 1").fetchone() is not None
        cursor.execute(f"alter table {table} drop column balance")
        return not lost

    def newest_received_at(self, names: Sequence[str]) -> datetime | None:
        """When the newest row of some tables was received, by their statistics; ``None`` where there is no row."""
        newest = [data_files(handle, _RECEIVED)[f"max.{_RECEIVED}"].max() for handle in self.handles(names).values()]
        return max((each for each in newest if isinstance(each, datetime)), default=None)

    def duplicates(self, names: Sequence[str], before: Mapping[str, Watermark]) -> list[Duplicates]:
        """The copies that some tables dropped above the versions that ``before`` includes; all that the log tells of one that is not in it."""
        found = []
        for name, handle in self.handles(names).items():
            included = before.get(name, ABSENT)
            same = included.incarnation == gold.digest(str(handle.metadata().id))
            found += self._duplicates_above(name, handle, included.version if same else ABSENT.version)
        return found

    def _duplicates_above(self, name: str, handle: DeltaTable, version: int) -> list[Duplicates]:
        """Read once: the plan asks which days they touch, and the views what they are."""
        with self._lock:
            if (name, version) not in self._dropped:
                self._dropped[name, version] = duplicates_above(name, handle, version)
            return self._dropped[name, version]

    def _pinned(self) -> Mapping[str, DeltaTable | None]:
        with self._lock:
            if self._pins is None:
                pins = self._lake.open_all("silver", silver_tables())
                for handle in pins.values():
                    if handle is not None:
                        make_durable(handle)  # gold says which versions it includes, and must not outlive them
                self._pins = pins
            return self._pins

    def _read_changes(self, handle: DeltaTable, table: str, before: int, now: int) -> str | None:
        held = {field.name for field in handle.schema().fields}
        read = [key for key in _KEYS if key in held]
        cursor = self._cursor()
        try:
            feed: Any = handle.load_cdf(starting_version=before + 1, ending_version=now, columns=read)
            cursor.execute("create schema if not exists touched")
            cursor.register("feed", pa.RecordBatchReader.from_stream(feed))
            shown = (key if key in held else f"null::{dtype} as {key}" for key, dtype in _KEYS.items())
            cursor.execute(f"create or replace table {table} as select distinct {', '.join(shown)} from feed")
            is_empty = cursor.execute(f"from {table} limit 1").fetchone() is None
        except (DeltaError, OSError, duckdb.Error, pa.ArrowException):
            return None  # the log or a removed file was cleaned up: the model is built anew
        return "" if is_empty else table


def _included(handle: DeltaTable) -> Watermark:
    return Watermark(gold.digest(str(handle.metadata().id)), handle.version())


def empty_rows(table: str) -> str:
    """SQL of no rows with the columns of a silver table."""
    return no_rows(silver_schema(table))
