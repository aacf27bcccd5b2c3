"""The lake: finds, opens and creates its Delta tables.

Table properties belong to :mod:`mg_lakehouse.lake.tables`, locations and credentials to :mod:`mg_lakehouse.location`, the
exactly-once commit to :mod:`mg_lakehouse.lake.commit`, and the content of the tables to the catalogue.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError, TableNotFoundError

from mg_lakehouse._util.progress import remark
from mg_lakehouse._util.side_by_side import side_by_side
from mg_lakehouse.errors import ConfigurationError, LakehouseError
from mg_lakehouse.lake.damage import refuse_damage, refuse_new_damage
from mg_lakehouse.lake.errors import store_error, store_errors
from mg_lakehouse.lake.handles import Handles
from mg_lakehouse.lake.modes import root_mode
from mg_lakehouse.lake.tables import (
    STATISTICS_PROPERTY,
    TableSpec,
    columns_of_table,
    delta_schema,
    missing_columns,
    missing_statistics,
    refuse_newer_contract,
    refuse_unread_features,
    table_properties,
)
from mg_lakehouse.location import Layer, Location, fault_of

__all__ = ["NO_HOOKS", "Lake"]


_GROWTHS: Final = 5
"""Tries to add columns. A try fails only against another's commit, and after two of the same release nothing is left to add."""

# A hook that fails after the commit would look like a failed commit. Checkpoints are made outside the
# commit (see `checkpoint` in `lake/commit.py`), where a failure costs nothing.
NO_HOOKS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


@dataclass(frozen=True, slots=True)
class Lake(Location):
    """The Delta tables of a lake root. ``handles`` are those that nobody holds any longer (:mod:`mg_lakehouse.lake.handles`)."""

    handles: Handles = field(default_factory=Handles, repr=False, compare=False, kw_only=True)

    def open(self, layer: Layer, table: str) -> DeltaTable | None:
        """Open the table at its newest version; ``None`` if it was never written.

        Raises:
            PermanentError: access is refused, a file of the table is damaged, or the table was written by a newer contract or with a feature that
                changes how files are read.
            TransientError: the store did not answer.
        """
        what = f"{layer}/{table} in the lake {self.uri}"
        folder = Path(self.uri_of(layer, table)) if self.is_local else None
        if folder is not None:
            if folder.is_symlink() and (fault := fault_of(os.path.realpath(folder))):
                raise ConfigurationError(f"{what} is a link: {fault}.")
            if not folder.joinpath("_delta_log").is_dir():
                refuse_damage(folder, what)
                return None
        try:
            handle = self.handles.open(self.uri_of(layer, table), self.storage_options())
        except (DeltaError, OSError) as error:
            if folder is not None:
                with suppress(OSError):  # then delta-rs's own error is raised
                    refuse_damage(folder, what)
            if isinstance(error, TableNotFoundError):
                return None
            raise store_error(error, what) from error
        if folder is not None:
            try:
                with store_errors(what):
                    refuse_new_damage(folder, handle, what)
            except LakehouseError:
                self.handles.forget(self.uri_of(layer, table))
                raise
        refuse_newer_contract(handle, what)
        refuse_unread_features(handle, what)
        return handle

    def open_all(self, layer: Layer, tables: Sequence[str]) -> dict[str, DeltaTable | None]:
        """Open some tables of a layer side by side, by name; ``None`` for those that do not exist. In a store one listing tells which, and these cost nothing.

        Raises:
            PermanentError, TransientError: as for :meth:`open`.
        """
        written = frozenset(tables) if self.is_local or len(tables) < 2 else self.written(layer)
        names = [table for table in tables if table in written]
        return dict.fromkeys(tables) | dict(zip(names, side_by_side(lambda table: self.open(layer, table), names), strict=True))

    def written(self, layer: Layer) -> frozenset[str]:
        """Return the names of the folders of a layer, by one listing and without opening any: of tables, or of what a first write left.

        Raises:
            PermanentError: access is refused.
            TransientError: the store did not answer.
        """
        folder = self.uri_of(layer, "")
        with store_errors(f"{layer} in the lake {self.uri}"):
            return self.handles.folders(folder, self.storage_options())

    def open_written(self, layer: Layer, tables: Sequence[str]) -> dict[str, DeltaTable]:
        """Open those of some tables that exist, as :meth:`open_all` does.

        Raises:
            PermanentError, TransientError: as for :meth:`open`.
        """
        return {name: handle for name, handle in self.open_all(layer, tables).items() if handle is not None}

    def make_root(self) -> None:
        """Make the folder of a local lake that is not there yet, for its owner and its group alone: the tables hold addresses and raw messages.

        What is made in it gets its modes by :mod:`mg_lakehouse.lake.modes`.

        A folder that is there keeps its mode.

        Raises:
            OSError: it cannot be made.
        """
        if self.is_local:
            Path(self.root).mkdir(mode=root_mode(), parents=True, exist_ok=True)

    def created(self, spec: TableSpec) -> DeltaTable:
        """Open the table, or create it with its schema and properties if it does not exist.

        Safe when two create it at once: the loser of the race opens the winner's table.

        Raises:
            PermanentError: access is refused, or the table was written by a newer contract.
            TransientError: the store did not answer.
        """
        if (handle := self.open(spec.layer, spec.name)) is not None:
            return handle
        with store_errors(f"{spec.layer}/{spec.name} in the lake {self.uri}"):
            self.make_root()
        try:
            handle = DeltaTable.create(
                self.uri_of(spec.layer, spec.name),
                delta_schema(spec),
                mode="ignore",
                partition_by=list(spec.partition_by),
                name=spec.name,
                description=spec.description,
                configuration=table_properties(spec),
                storage_options=self.storage_options(),
                raise_if_key_not_exists=False,
            )
        except (DeltaError, OSError) as error:
            if (handle := self.open(spec.layer, spec.name)) is not None:
                return handle
            raise store_error(error, f"{spec.layer}/{spec.name} in the lake {self.uri}") from error
        return handle

    def ensure(self, spec: TableSpec) -> DeltaTable:
        """Return the table to write rows of ``spec`` to: created if it does not exist, with missing columns added.

        Raises:
            PermanentError: as for :meth:`created`; or the table has columns that ``spec`` does not know, or one of another type.
            TransientError: the store did not answer.
        """
        return self._with_all_columns(self.created(spec), spec)[0]

    def add_missing_columns(self, specs: Sequence[TableSpec]) -> dict[str, tuple[str, ...]]:
        """Add missing columns to those tables of ``specs`` that exist. Returns the names of the added columns, by table.

        Raises:
            PermanentError, TransientError: as for :meth:`ensure`.
        """
        return self.open_grown(specs)[1]

    def open_grown(self, specs: Sequence[TableSpec]) -> tuple[dict[str, DeltaTable], dict[str, tuple[str, ...]]]:
        """Open those tables of ``specs``, all of one layer, that exist, and add missing columns. Returns the tables, and the names of added columns, by table.

        Raises:
            PermanentError, TransientError: as for :meth:`ensure`.
        """
        opened = self.open_written(specs[0].layer, [spec.name for spec in specs]) if specs else {}

        def grow(spec: TableSpec) -> tuple[str, ...]:
            opened[spec.name], added = self._with_all_columns(opened[spec.name], spec)
            return added

        there = [spec for spec in specs if spec.name in opened]
        return opened, {spec.name: added for spec, added in zip(there, side_by_side(grow, there), strict=True) if added}

    def _with_all_columns(self, handle: DeltaTable, spec: TableSpec) -> tuple[DeltaTable, tuple[str, ...]]:
        """Return the table with all columns of ``spec``, and the names of the added ones. One commit adds them; the losers of a race find it done.

        A metadata commit makes every append under way read the table again, so there is none if no column is missing. Existing columns
        keep their comments, and the table its properties: they do not affect the rows.
        """
        what = f"{spec.layer}/{spec.name} in the lake {self.uri}"
        added: tuple[str, ...] = ()
        failure: Exception | None = None
        for _ in range(_GROWTHS):
            lacking = missing_columns(handle, spec, what)
            if not lacking:
                return handle, added
            try:
                if (statistics := missing_statistics(handle, spec, lacking)) is not None:
                    # First, so that a kill in between leaves nothing undone. With delta-rs, each is a commit of its own.
                    handle.alter.set_table_properties({STATISTICS_PROPERTY: statistics}, post_commithook_properties=NO_HOOKS)
                else:
                    fields = [column for column in delta_schema(spec).fields if column.name in lacking]
                    handle.alter.add_columns(fields, post_commithook_properties=NO_HOOKS)
                    added = lacking
                    remark(_added_message(spec, added))
            except (DeltaError, OSError) as error:  # whatever the error, the table decides
                failure = error
            # A new handle: a writer's compare-and-swap is on the handle that it read.
            handle = self.open(spec.layer, spec.name) or handle
        assert failure is not None
        raise store_error(failure, what) from failure

    def scan(self, files: Sequence[str], handle: DeltaTable) -> pl.LazyFrame:
        """Return a lazy frame over some data files of a table, given by their addresses.

        It has the table's columns except those of the partition, which are in no file. A column added later is null in older files.
        """
        partition = set(handle.metadata().partition_columns)
        schema = pl.Schema({name: dtype for name, dtype in columns_of_table(handle).items() if name not in partition})
        return pl.scan_parquet(
            list(files),
            storage_options=self.storage_options() or None,
            # Names are not patterns.
            glob=False,
            hive_partitioning=False,
            schema=schema,
            missing_columns="insert",
            extra_columns="ignore",
        )


def _added_message(spec: TableSpec, added: Sequence[str]) -> str:
    """Describe the columns that a table got."""
    columns = f"the column {added[0]}" if len(added) == 1 else f"the columns {', '.join(added)}"
    history = " `mg-lakehouse backfill` fills it for earlier days." if spec.layer == "silver" else " It is null in earlier rows."
    return f"{spec.layer}/{spec.name} got {columns}, which the catalogue has and the table lacked.{history}"
