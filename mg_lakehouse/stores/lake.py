"""The lake: where its Delta tables are, and how they are opened and created.

All that is known about table properties is here, about locations and credentials in :mod:`mg_lakehouse.stores.location`. The exactly-once
commit is :mod:`mg_lakehouse.stores.commit`; what the tables hold is the catalogue's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError

from mg_lakehouse.errors import LakehouseError, PermanentError, TransientError
from mg_lakehouse.stores.damage import refuse_damage, refuse_new_damage, remedy
from mg_lakehouse.stores.location import Layer, Location

__all__ = ["CONTRACT_VERSION", "Lake", "Layer", "TableSpec", "store_error", "store_errors"]

CONTRACT_VERSION: Final = 1
"""Version of the tables' meaning. A lake written under a higher one is refused, not guessed at."""

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
)
"""What stores say when trying again changes nothing, in lower case, and the sentence for it."""

_DAMAGED: Final = ("out of specification", "json error", "invalid json in", "found gap", "invalid checkpoint")
"""What libraries say of files that are torn or foreign, in lower case: trying again reads the same bytes."""

_OPENED_AT_ONCE: Final = 8

_CONTRACT_PROPERTY: Final = "mg_lakehouse.contractVersion"


@dataclass(frozen=True, slots=True)
class TableSpec:
    """What a Delta table is created with.

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
    lowered = str(error).lower()
    for signs, sentence in _PERMANENT:
        if any(sign in lowered for sign in signs):
            return PermanentError(f"{what} {sentence}")
    if any(sign in lowered for sign in _DAMAGED):
        layer, _, table = what.partition(" ")[0].partition("/")
        return PermanentError(f"{what} has a file that is damaged ({text[:300]}): {remedy(layer, table, Path(layer, table))}.")
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
        if isinstance(error, DeltaError | OSError | pl.exceptions.PolarsError) or type(error) is Exception:
            raise store_error(error, what) from error
        raise


@dataclass(frozen=True, slots=True)
class Lake(Location):
    """The Delta tables of a lake root."""

    def open(self, layer: Layer, table: str) -> DeltaTable | None:
        """The table at its newest version, or ``None`` where it was never written.

        Raises:
            PermanentError: access is refused, a file of the table is damaged, or it was written by a newer contract.
            TransientError: the store did not answer.
        """
        what = f"{layer}/{table} in the lake {self.uri}"
        folder = Path(self.uri_of(layer, table)) if self.is_local else None
        if folder is not None and not folder.joinpath("_delta_log").is_dir():
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
        return handle

    def open_all(self, layer: Layer, tables: Sequence[str]) -> dict[str, DeltaTable | None]:
        """Some tables of a layer by name, opened side by side: most of an opening is waiting for the store.

        Raises:
            PermanentError, TransientError: as for :meth:`open`.
        """
        with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
            return dict(zip(tables, pool.map(lambda table: self.open(layer, table), tables), strict=True))

    def ensure(self, spec: TableSpec) -> DeltaTable:
        """The table, created with its schema and properties where it does not exist.

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

    def scan(self, files: Sequence[str]) -> pl.LazyFrame:
        """Lazy frame over some data files of a table, given by their addresses."""
        return pl.scan_parquet(list(files), storage_options=self.storage_options() or None, hive_partitioning=False)


def _refuse_newer_contract(handle: DeltaTable, what: str) -> None:
    written = int(handle.metadata().configuration.get(_CONTRACT_PROPERTY, CONTRACT_VERSION))
    if written > CONTRACT_VERSION:
        raise PermanentError(
            f"{what} was written by contract version {written}, and this mg-lakehouse knows {CONTRACT_VERSION}: upgrade mg-lakehouse."
        )


def _properties(spec: TableSpec) -> dict[str, str | None]:
    properties: dict[str, str | None] = {
        _CONTRACT_PROPERTY: str(CONTRACT_VERSION),
        "delta.dataSkippingStatsColumns": ",".join(spec.stats_columns),
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
