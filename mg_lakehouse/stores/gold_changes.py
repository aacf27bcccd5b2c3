"""The silver tables that a gold build reads: each at one version from begin to end, and which keys changed in it since an older one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from mg_lakehouse.events.catalogue import EVENTS
from mg_lakehouse.stores import gold
from mg_lakehouse.stores.duck import identifier
from mg_lakehouse.stores.gold import ABSENT, Included
from mg_lakehouse.stores.lake import Lake

__all__ = ["SilverTables"]


class SilverTables:
    """The silver tables of one build, pinned when the first is looked at. Safe to use from several threads."""

    def __init__(self, lake: Lake, cursor: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._lake = lake
        self._cursor = cursor
        self._lock = threading.RLock()
        self._pins: Mapping[str, DeltaTable | None] | None = None
        self._touched: dict[tuple[str, int, int], str | None] = {}

    @property
    def ids(self) -> dict[str, str | None]:
        """Id of every silver table, ``None`` for those that do not exist."""
        return {name: None if handle is None else str(handle.metadata().id) for name, handle in self._pinned().items()}

    def handle(self, name: str) -> DeltaTable | None:
        """A table at its pinned version."""
        return self._pinned()[name]

    def included(self, tables: Sequence[str]) -> dict[str, Included]:
        """What whoever reads these tables now includes."""
        pinned = self._pinned()
        return {name: ABSENT if (handle := pinned[name]) is None else _included(handle) for name in tables}

    def changes(self, name: str, before: Included, now: Included) -> str | None:
        """Name of the DuckDB table of what changed: ``request_id, event_date``; empty text for nothing, ``None`` where it cannot be known."""
        if before == now:
            return ""
        if before.incarnation not in {now.incarnation, ABSENT.incarnation} or before.version >= now.version:
            return None
        handle = self.handle(name)
        if handle is None:
            return None
        key = (name, before.version, now.version)
        with self._lock:
            if key not in self._touched:
                self._touched[key] = self._read_changes(handle, *key)
            return self._touched[key]

    def _pinned(self) -> Mapping[str, DeltaTable | None]:
        with self._lock:
            if self._pins is None:
                self._pins = self._lake.open_all("silver", [event.table for event in EVENTS])
            return self._pins

    def _read_changes(self, handle: DeltaTable, name: str, before: int, now: int) -> str | None:
        table = f"touched.{identifier(f'{name}_{before}_{now}')}"
        cursor = self._cursor()
        try:
            feed: Any = handle.load_cdf(starting_version=before + 1, ending_version=now, columns=["request_id", "event_date"])
            cursor.execute("create schema if not exists touched")
            cursor.register("feed", pa.RecordBatchReader.from_stream(feed))
            cursor.execute(f"create or replace table {table} as select distinct request_id, event_date from feed")
        except (DeltaError, OSError, duckdb.Error, pa.ArrowException):
            return None  # the log or a removed file was cleaned up: the model is built anew
        return table


def _included(handle: DeltaTable) -> Included:
    return Included(gold.digest(str(handle.metadata().id)), handle.version())
