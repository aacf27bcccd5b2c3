"""Runs the maintenance of a lake's tables: compaction, retention, checkpoints. It is safe while the pipeline runs, and safe to kill.

It has two scopes: today's small files, often; and everything, once a day, when only today is open. For rewrites see
:mod:`mg_lakehouse.maintenance.compaction`, for deletions :mod:`mg_lakehouse.maintenance.retention`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.audit.conservation import RECHECKED_VERSIONS
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.events.catalogue import SET_ASIDE, silver_tables
from mg_lakehouse.gold.names import gold_models
from mg_lakehouse.lake.commit import checkpoint
from mg_lakehouse.lake.durable import make_durable, sync_checkpoints
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.location import Layer
from mg_lakehouse.maintenance.compaction import Rewrite, Rewritten, planned_rewrites, rewrite
from mg_lakehouse.maintenance.retention import (
    Removed,
    RetentionLock,
    check_hold,
    clean_log,
    gold_progress,
    gold_retention_lock,
    remove_files,
    silver_retention_lock,
    with_retention,
)
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.known_ids import known_ids
from mg_lakehouse.silver.tables import EVENT_TABLES

__all__ = ["LAYERS", "TableReport", "maintain", "tables_of"]

_NOTHING: Final = Removed()

LAYERS: Final[tuple[Layer, ...]] = ("bronze", "silver", "gold")


@dataclass(frozen=True, slots=True)
class TableReport:
    """The result of a table's maintenance, or its plan in a dry run: files and bytes of the newest version before and after, and removals.

    In a dry run, ``files_after`` and ``bytes_after`` equal those before. ``merged`` and ``sorted`` count partitions.
    """

    layer: Layer
    table: str
    files_before: int
    bytes_before: int
    files_after: int
    bytes_after: int
    merged: int = 0
    sorted: int = 0
    removed: Removed = _NOTHING
    notes: tuple[str, ...] = ()

    @property
    def anything(self) -> bool:
        """Whether there was anything to do or to report."""
        return bool(self.merged or self.sorted or self.removed.files or self.notes)


def tables_of(layer: Layer, settings: Settings) -> tuple[str, ...]:
    """Return the names of a layer's tables, whether or not they exist."""
    if layer == "bronze":
        return BRONZE_TABLES
    return (*silver_tables(), SET_ASIDE) if layer == "silver" else gold_models(settings)


def maintain(
    lake: Lake, settings: Settings, *, layers: Sequence[Layer] = LAYERS, full: bool = True, dry_run: bool = False
) -> Iterator[TableReport]:
    """Maintain the existing tables, one after another; yield a report of each when it is done.

    Args:
        lake: the lake.
        settings: sizes and ages.
        layers: the layers to maintain.
        full: include closed partitions, vacuum and logs; otherwise only today's small files.
        dry_run: report what would be done, and do nothing.

    Raises:
        PermanentError, TransientError: maintenance failed; work done before stays.
    """
    for layer in layers:
        written = lake.written(layer)
        names = [name for name in tables_of(layer, settings) if name in written]
        readers = _readers_of_silver(lake, settings, names) if layer == "silver" and full else _NO_READERS
        for table in names:
            handle = lake.open(layer, table)
            if handle is not None:
                yield _Work(lake, settings, layer, table, readers, full=full, dry_run=dry_run).on(handle)


class _Readers(NamedTuple):
    """Who reads on in silver, asked once for all its tables: what gold has included of each, and the locks of the checks. Since then they read more."""

    included: Mapping[str, Mapping[str, int]]
    checks: Sequence[RetentionLock]


_NO_READERS: Final = _Readers({}, ())


def _readers_of_silver(lake: Lake, settings: Settings, names: Sequence[str]) -> _Readers:
    checks = (check_hold(lake, source, RECHECKED_VERSIONS) for source in BRONZE_TABLES)
    return _Readers(gold_progress(lake, names, gold_models(settings)), [hold for hold in checks if hold is not None])


@dataclass(frozen=True, slots=True)
class _Work:
    lake: Lake
    settings: Settings
    layer: Layer
    table: str
    readers: _Readers
    full: bool
    dry_run: bool

    @property
    def what(self) -> str:
        return f"{self.layer}/{self.table} in the lake {self.lake.uri}"

    def on(self, handle: DeltaTable) -> TableReport:
        with store_errors(self.what):
            files, size = _extent(handle)
            version = handle.version()
            planned = planned_rewrites(self.lake, handle, self.layer, self.settings, now=datetime.now(UTC), closed=self.full)
            done = [Rewritten(plan.how) for plan in planned] if self.dry_run else [self._rewrite(handle, plan) for plan in planned]
            removed, notes = self._past(handle) if self.full else (_NOTHING, ())
            if done and not self.dry_run:  # the entries before name files that are gone
                handle.create_checkpoint()
            elif not self.dry_run:
                checkpoint(handle, since=version)
            if self.layer == "silver" and self.table in EVENT_TABLES and handle.version() > version:
                # They end with the commits of this maintenance: the next one may remove the entries before.
                known_ids(self.lake, handle).write()
        hows = [rewritten.how for rewritten in done]
        notes = (*(rewritten.note for rewritten in done if rewritten.note), *notes)
        return TableReport(self.layer, self.table, files, size, *_extent(handle), hows.count("merge"), hows.count("sort"), removed, notes)

    def _rewrite(self, handle: DeltaTable, planned: Rewrite) -> Rewritten:
        return rewrite(handle, self.layer, planned, self.settings, self.what)

    def _past(self, handle: DeltaTable) -> tuple[Removed, tuple[str, ...]]:
        keep_files, keep_log = timedelta(days=self.settings.keep_files_days), timedelta(days=self.settings.keep_log_days)
        holds = self._holds(handle, keep_log)
        held = [hold.reader for hold in holds if hold.rows_at is not None and hold.rows_at < datetime.now(UTC) - keep_files]
        if not self.dry_run:  # the files that replace old ones, and the checkpoints that replace old entries
            make_durable(handle)
            sync_checkpoints(handle)
        removed = remove_files(handle, holds, keep=keep_files, dry_run=self.dry_run)
        if not self.dry_run:
            with_retention(handle, keep_files_days=self.settings.keep_files_days, keep_log_days=self.settings.keep_log_days)
            holder = clean_log(handle, holds, keep=keep_log)
            if holder is not None and holder.rows_at is not None:
                held.append(holder.reader)
        return removed, tuple(f"{reader} has not read old versions yet: they are kept" for reader in dict.fromkeys(held))

    def _holds(self, handle: DeltaTable, keep_log: timedelta) -> list[RetentionLock]:
        if self.layer == "bronze":
            holds = [silver_retention_lock(self.lake, handle)]
        elif self.layer == "silver":
            holds = [gold_retention_lock(handle, self.readers.included.get(self.table, {}), no_longer_than=keep_log), *self.readers.checks]
        else:
            holds = []
        return [hold for hold in holds if hold is not None]


def _extent(handle: DeltaTable) -> tuple[int, int]:
    sizes = pl.DataFrame(handle.get_add_actions(flatten=True))
    return sizes.height, 0 if sizes.is_empty() else int(sizes["size_bytes"].sum())
