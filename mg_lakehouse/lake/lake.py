"""The lake: where its Delta tables are, and how they are opened and created.

All that is known about table properties is here, about locations and credentials in :mod:`mg_lakehouse.location`. The exactly-once
commit is :mod:`mg_lakehouse.lake.commit`; what the tables hold is the catalogue's business.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError

from mg_lakehouse._util.progress import remark
from mg_lakehouse.errors import ConfigurationError, LakehouseError, PermanentError, TransientError
from mg_lakehouse.lake.damage import refuse_damage, refuse_new_damage, remedy
from mg_lakehouse.location import Layer, Location, fault_of

__all__ = ["CONTRACT_VERSION", "NO_HOOKS", "Lake", "Layer", "TableSpec", "arrow_schema", "columns_of_table", "store_error", "store_errors"]

CONTRACT_VERSION: Final = 1
"""Version of the tables' meaning. A lake written under a higher one is refused, not guessed at."""

_FEATURE_REMEDY: Final = "a newer release or another program turned it on. Upgrade mg-lakehouse, or make the table anew without it as that program's manual has it."

_PERMANENT: Final = (
    (
        (
            "permission denied",
            "read-only file system",
            "not a directory",
            "could not create local directory",
            "lacked the necessary privileges",
            "403 forbidden",
            "accessdenied",
            "expiredtoken",
            "invalidaccesskeyid",
            "signaturedoesnotmatch",
        ),
        "cannot be written or read: access was refused. Check MG_LAKE_URI and the rights or AWS credentials behind it.",
    ),
    (("nosuchbucket", "bucket does not exist"), "cannot be reached: its bucket does not exist. Create it or correct MG_LAKE_URI."),
    (
        ("no space left", "disk quota exceeded", "file too large"),
        "cannot be written: the disk is full, or a limit on its files is reached. Free some space.",
    ),
    (
        ("invalid table version",),
        (
            "are no longer in its Delta log, so what they added cannot be told: restore the entries from a backup. "
            "`mg-lakehouse maintain` removes none that a reader lacks."
        ),
    ),
    (
        ("schemamismatch", "cannot cast schema", "number of fields does not match"),
        "has other columns than this mg-lakehouse writes: another release wrote here meanwhile. Use the newest one that did, everywhere.",
    ),
    (
        ("unsupported table features", "kernel error: unsupported"),
        f"uses a feature of Delta Lake that this mg-lakehouse does not know: {_FEATURE_REMEDY}",
    ),
)
"""What stores and delta-rs say where only a person can help, in lower case, and how the sentence goes on."""

_DAMAGED: Final = (
    "out of specification",
    "json error",
    "invalid json in",
    "found gap",
    "invalid checkpoint",
    "parquet magic bytes",
    "parquet input source",
)
"""What libraries say of files that are torn or foreign, in lower case: trying again reads the same bytes."""

_COLUMN_MAPPING: Final = 2
"""Version of a reader that knows no feature but this one."""

_HARMLESS_FEATURES: Final = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
"""Features of readers that say nothing of what is in a data file."""

_OPENED_AT_ONCE: Final = 8

_CONTRACT_PROPERTY: Final = "mg_lakehouse.contractVersion"
_STATISTICS_PROPERTY: Final = "delta.dataSkippingStatsColumns"

_GROWTHS: Final = 5
"""Tries to add columns. Each that fails met another's commit, and after two of the same release there is nothing left to add."""

# A hook that fails after the commit landed would look like a failed commit. Checkpoints are made beside the
# pipeline (see `checkpoint` in the module of commits), where a failure costs nothing.
NO_HOOKS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


@dataclass(frozen=True, slots=True)
class TableSpec:
    """What a Delta table is created with, and what one of an older release gets: the columns that it lacks.

    ``stats_columns`` are the only columns whose minima and maxima go into the Delta log: never one that
    holds an address or text, for the log is read by anybody who may list the lake.
    """

    layer: Layer
    name: str
    schema: pl.Schema
    stats_columns: tuple[str, ...]
    partition_by: tuple[str, ...] = ("received_date",)
    description: str = ""
    append_only: bool = False
    comments: Mapping[str, str] = field(default_factory=dict)


def store_error(error: BaseException, what: str) -> LakehouseError:
    """Sort an error of the object store or file system into permanent or transient.

    ``what`` names the thing that was tried, for the sentence. What the store said is looked at as a whole, for delta-rs gives the
    reason of an S3 error some lines below "Generic S3 error"; of it the sentence has the first line only: a Delta error may carry
    a whole schema, an S3 error a signed request.
    """
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    lowered = f"{type(error).__name__}: {error}".lower()
    for signs, sentence in _PERMANENT:
        if any(sign in lowered for sign in signs):
            return PermanentError(f"{what} {sentence}")
    if any(sign in lowered for sign in _DAMAGED):
        layer, _, table = what.partition(" ")[0].partition("/")
        folder = Path(what.rpartition(" in the lake ")[2], layer, table)
        return PermanentError(f"{what} has a file that is damaged ({text[:300]}): {remedy(layer, table, folder)}.")
    if "error sending request" in lowered or "connection refused" in lowered or "dns error" in lowered:
        return TransientError(f"{what} cannot be reached: its store does not answer. Check the network and AWS_ENDPOINT_URL_S3.")
    return TransientError(f"{what} could not be reached or written ({type(error).__name__}: {text[:300]}).")


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Sort what delta-rs, its Arrow streams and Polars raise within the block; ``what`` is as for :func:`store_error`.

    A stream of changes raises a bare ``Exception`` whatever it met. Anything else is a mistake of ours and stays as it is.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DeltaError | OSError | pl.exceptions.PolarsError | pa.ArrowException) or type(error) is Exception:
            raise store_error(error, what) from error
        raise


@dataclass(frozen=True, slots=True)
class Lake(Location):
    """The Delta tables of a lake root."""

    def open(self, layer: Layer, table: str) -> DeltaTable | None:
        """The table at its newest version, or ``None`` where it was never written.

        Raises:
            PermanentError: access is refused, a file of the table is damaged, or it was written by a newer contract, or with a feature that changes
                how files are read.
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
            handle = DeltaTable(self.uri_of(layer, table), storage_options=self.storage_options())
        except (DeltaError, OSError) as error:
            if folder is not None:
                with suppress(OSError):  # what delta-rs said of it stands
                    refuse_damage(folder, what)
            if isinstance(error, TableNotFoundError):
                return None
            raise store_error(error, what) from error
        if folder is not None:
            with store_errors(what):
                refuse_new_damage(folder, handle, what)
        _refuse_newer_contract(handle, what)
        _refuse_unread_features(handle, what)
        return handle

    def open_all(self, layer: Layer, tables: Sequence[str]) -> dict[str, DeltaTable | None]:
        """Some tables of a layer by name, opened side by side: most of an opening is waiting for the store.

        Raises:
            PermanentError, TransientError: as for :meth:`open`.
        """
        with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
            return dict(zip(tables, pool.map(lambda table: self.open(layer, table), tables), strict=True))

    def created(self, spec: TableSpec) -> DeltaTable:
        """The table as it is, created with its schema and properties where it does not exist.

        Safe when two create it at once: the loser of the race opens the winner's.

        Raises:
            PermanentError: access is refused, or the table was written by a newer contract.
            TransientError: the store did not answer.
        """
        if (handle := self.open(spec.layer, spec.name)) is not None:
            return handle
        try:
            handle = DeltaTable.create(
                self.uri_of(spec.layer, spec.name),
                _delta_schema(spec),
                mode="ignore",
                partition_by=list(spec.partition_by),
                name=spec.name,
                description=spec.description,
                configuration=_properties(spec),
                storage_options=self.storage_options(),
                raise_if_key_not_exists=False,
            )
        except (DeltaError, OSError) as error:
            if (handle := self.open(spec.layer, spec.name)) is not None:
                return handle
            raise store_error(error, f"{spec.layer}/{spec.name} in the lake {self.uri}") from error
        return handle

    def ensure(self, spec: TableSpec) -> DeltaTable:
        """The table to write rows of ``spec`` to: created where it does not exist, and with the columns that it lacks.

        Raises:
            PermanentError: as for :meth:`created`; or the table has columns that ``spec`` does not know, or one of another type.
            TransientError: the store did not answer.
        """
        return self._grown(self.created(spec), spec)[0]

    def bring_up(self, specs: Sequence[TableSpec]) -> dict[str, tuple[str, ...]]:
        """Add to those tables of ``specs`` that exist the columns that they lack. Returns the names of those that were added, by table.

        Raises:
            PermanentError, TransientError: as for :meth:`ensure`.
        """

        def grow(spec: TableSpec) -> tuple[str, ...]:
            handle = self.open(spec.layer, spec.name)
            return () if handle is None else self._grown(handle, spec)[1]

        with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
            return {spec.name: added for spec, added in zip(specs, pool.map(grow, specs), strict=True) if added}

    def _grown(self, handle: DeltaTable, spec: TableSpec) -> tuple[DeltaTable, tuple[str, ...]]:
        """The table with all columns of ``spec``, and the names of those that were added: in one commit, which the others of a race find done.

        A commit of metadata makes every append under way look again, so there is none where nothing is lacking. Columns that were there
        keep their comments, and the table its properties: what they say is no row's business.
        """
        what = f"{spec.layer}/{spec.name} in the lake {self.uri}"
        added: tuple[str, ...] = ()
        failure: Exception | None = None
        for _ in range(_GROWTHS):
            lacking = _lacking(handle, spec, what)
            if not lacking:
                return handle, added
            try:
                if (statistics := _lacking_statistics(handle, spec, lacking)) is not None:
                    # First, so that a kill in between leaves nothing undone. Each is a commit of its own with delta-rs.
                    handle.alter.set_table_properties({_STATISTICS_PROPERTY: statistics}, post_commithook_properties=NO_HOOKS)
                else:
                    fields = [column for column in _delta_schema(spec).fields if column.name in lacking]
                    handle.alter.add_columns(fields, post_commithook_properties=NO_HOOKS)
                    added = lacking
                    remark(_told(spec, added))
            except (DeltaError, OSError) as error:  # whatever it is, the table decides
                failure = error
            # Anew: a writer's compare-and-swap is on the handle that it looked at.
            handle = self.open(spec.layer, spec.name) or handle
        assert failure is not None
        raise store_error(failure, what) from failure

    def scan(self, files: Sequence[str], handle: DeltaTable) -> pl.LazyFrame:
        """Lazy frame over some data files of a table, given by their addresses.

        It has the table's columns but those of the partition, which are in no file. One that was added later is null in the files of before.
        """
        partition = set(handle.metadata().partition_columns)
        schema = pl.Schema({name: dtype for name, dtype in columns_of_table(handle).items() if name not in partition})
        return pl.scan_parquet(
            list(files),
            storage_options=self.storage_options() or None,
            # Names are no patterns.
            glob=False,
            hive_partitioning=False,
            schema=schema,
            missing_columns="insert",
            extra_columns="ignore",
        )


def arrow_schema(handle: DeltaTable) -> pa.Schema:
    """The columns of a table, in Arrow's types."""
    exported: Any = handle.schema().to_arrow()  # an Arrow object of another library, by the C interface
    return pa.schema(exported)


def columns_of_table(handle: DeltaTable) -> pl.Schema:
    """The columns of a table, in Polars' types."""
    return pl.DataFrame(arrow_schema(handle).empty_table()).schema


def _lacking(handle: DeltaTable, spec: TableSpec, what: str) -> tuple[str, ...]:
    """Names of the columns that a table lacks.

    Raises:
        PermanentError: it has columns that ``spec`` does not know: rows without them would be rows that a newer release takes for its own.
            Or it has one of another type.
    """
    found = columns_of_table(handle)
    if unknown := [name for name in found if name not in spec.schema]:
        raise PermanentError(
            f"{what} has the column {unknown[0]}, which this mg-lakehouse does not know, and would get rows without it: "
            "a newer release wrote here. Upgrade mg-lakehouse."
        )
    for name, dtype in found.items():
        if dtype != spec.schema[name]:
            raise PermanentError(
                f"The column {name} of {what} is {dtype}, and this mg-lakehouse writes {spec.schema[name]}: use the release that made the "
                "table, or give the column of the catalogue another name."
            )
    return tuple(name for name in spec.schema if name not in found)


def _lacking_statistics(handle: DeltaTable, spec: TableSpec, lacking: Sequence[str]) -> str | None:
    """What the property of the columns with statistics is to be, ``None`` where it names all of the new columns that have some.

    Of columns that were there it says what it said: somebody may have chosen it.
    """
    said = handle.metadata().configuration.get(_STATISTICS_PROPERTY)
    named = said.split(",") if said else []
    new = [name for name in spec.stats_columns if name in lacking and name not in named]
    return ",".join([*named, *new]) if new else None


def _told(spec: TableSpec, added: Sequence[str]) -> str:
    """That a table got columns, as a sentence."""
    columns = f"the column {added[0]}" if len(added) == 1 else f"the columns {', '.join(added)}"
    history = " `mg-lakehouse backfill` fills it for the days before." if spec.layer == "silver" else " It is null in the rows of before."
    return f"{spec.layer}/{spec.name} got {columns}, which the catalogue has and the table lacked.{history}"


def _refuse_newer_contract(handle: DeltaTable, what: str) -> None:
    written = int(handle.metadata().configuration.get(_CONTRACT_PROPERTY, CONTRACT_VERSION))
    if written > CONTRACT_VERSION:
        raise PermanentError(
            f"{what} was written by contract version {written}, and this mg-lakehouse knows {CONTRACT_VERSION}: upgrade mg-lakehouse."
        )


def _refuse_unread_features(handle: DeltaTable, what: str) -> None:
    """Data files are read as they are: past deletion vectors, deleted rows would be back."""
    protocol = handle.protocol()
    named = protocol.reader_features or (["columnMapping"] if protocol.min_reader_version == _COLUMN_MAPPING else [])
    if unread := sorted(set(named) - _HARMLESS_FEATURES):
        raise PermanentError(f"{what} uses Delta's {unread[0]}, which mg-lakehouse does not read: {_FEATURE_REMEDY}")


def _properties(spec: TableSpec) -> dict[str, str | None]:
    properties: dict[str, str | None] = {
        _CONTRACT_PROPERTY: str(CONTRACT_VERSION),
        _STATISTICS_PROPERTY: ",".join(spec.stats_columns),
        # What a layer reads of the one below is its change feed; without the property, it cannot be read across a
        # commit of metadata, the first one included. An append costs nothing more for it.
        "delta.enableChangeDataFeed": "true",
        # Batch markers carry `last_updated` and expire; a lane carries none and never does.
        "delta.setTransactionRetentionDuration": "interval 30 days",
        # Delta's own 30 days are 86,400 entries where a batch comes every 30 seconds, and opening a local table lists them all:
        # 0.36 s for 80,000, 0.03 s for 20,000. Maintenance sets another number where MG_KEEP_LOG_DAYS says so.
        "delta.logRetentionDuration": "interval 7 days",
    }
    if spec.append_only:
        properties["delta.appendOnly"] = "true"
    return properties


def _delta_schema(spec: TableSpec) -> Schema:
    arrow = pl.DataFrame(schema=spec.schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    for index, name in enumerate(arrow.names):
        if comment := spec.comments.get(name):
            arrow = arrow.set(index, arrow.field(index).with_metadata({"comment": comment}))
    return Schema.from_arrow(arrow)
