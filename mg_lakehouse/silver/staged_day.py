"""Stages a day of bronze: flattens it again into files, table by table, because a day of a busy feed exceeds any memory.

A rebuild first reads each row's keys and fingerprints, a tenth of its size; whole rows are read at the commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from mg_lakehouse.bronze.read_progress import progress_app, refuse_lost_bronze, silver_progress
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, SET_ASIDE
from mg_lakehouse.events.dedupe import content_columns
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import all_files
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import posted_batches
from mg_lakehouse.silver.set_aside import flatten_or_set_aside
from mg_lakehouse.silver.slices import BRONZE_VERSION

__all__ = [
    "CONTENT",
    "ROW",
    "Source",
    "StagedDay",
    "keys_of",
    "partition_files",
    "staged_day",
    "with_all_columns",
    "with_fingerprints",
]

"""Column: the bronze version of the row's message; 0 where every table has flattened it."""
ROW: Final = "__row"
"""Column: fingerprint of the whole row, compared within this process only."""
CONTENT: Final = "content"
"""Column: fingerprint of the event's content, without how it was received."""

_KEYS_OF_NO_EVENT: Final = {REJECTED_ITEMS: ("message_id", "item_index"), SET_ASIDE: ("message_id", "silver_table")}
_KEYS: Final = ("activity_id", "event_at", "source", "message_id", "item_index", "received_at", "silver_table", "reason")


@dataclass(frozen=True, slots=True)
class Source:
    """A bronze table: the transaction id of silver's progress in it, and the version that every silver table has."""

    name: str
    handle: DeltaTable
    app: str
    flattened: int

    def messages(self, day: date, slice_bytes: int) -> Iterator[pl.DataFrame]:
        """Yield the messages of a day of receipt in batches, with ``BRONZE_VERSION``."""
        versions = self._unflattened()
        dataset = self.handle.to_pyarrow_dataset(file_pruning_predicate=[("received_date", "=", day.isoformat())])
        collected: list[pl.DataFrame] = []
        size = 0
        for batch in dataset.to_batches(columns=["message_id", "body", "received_at", "batch_id"], batch_size=2_000):
            collected.append(pl.DataFrame(pa.Table.from_batches([batch])))
            size += batch.nbytes
            if size >= slice_bytes:
                yield _versioned(pl.concat(collected), day, versions)
                collected, size = [], 0
        if collected:
            yield _versioned(pl.concat(collected), day, versions)

    def has_grown(self, lake: Lake, day: date) -> bool:
        """Whether the bronze table may have new messages of a day: its files of that day changed."""
        newest = lake.open("bronze", self.name)
        return newest is None or partition_files(newest, day) != partition_files(self.handle, day)

    def _unflattened(self) -> dict[str, int]:
        """Return the versions of the batches that some table has not flattened."""
        versions = {}
        for posted in posted_batches(self.handle):
            if posted.version <= self.flattened:
                break
            versions[posted.ledger.batch_id] = posted.version
        return versions


def _versioned(messages: pl.DataFrame, day: date, versions: Mapping[str, int]) -> pl.DataFrame:
    version = pl.col("batch_id").replace_strict(versions, default=0, return_dtype=pl.Int64)
    received_at = pl.col("received_at").cast(pl.Datetime("us", "UTC"))
    return messages.with_columns(version.alias(BRONZE_VERSION), received_at, received_date=pl.lit(day)).sort("received_at", "message_id")


@dataclass(frozen=True, slots=True)
class StagedDay:
    """A day of all sources, flattened into ``folder``."""

    day: date
    sources: Sequence[Source]
    folder: Path

    def stage(self, lake: Lake, slice_bytes: int) -> Iterator[int]:
        """Flatten the messages into files; yields the number of messages of each batch."""
        batch = 0
        for source in self.sources:
            with store_errors(f"bronze/{source.name} of {self.day} in the lake {lake.uri}"):
                for messages in source.messages(self.day, slice_bytes):
                    flattened, set_aside = flatten_or_set_aside(messages, source=source.name, carry=(BRONZE_VERSION,))
                    for table, rows in (*flattened.tables.items(), (REJECTED_ITEMS, flattened.rejected), (SET_ASIDE, set_aside)):
                        self.add(table, rows, f"{batch:06}")
                    batch += 1
                    yield messages.height

    def add(self, table: str, rows: pl.DataFrame, name: str) -> None:
        """Write rows of a table to a file."""
        if rows.height:
            (self.folder / table).mkdir(exist_ok=True)
            rows.write_parquet(self.folder / table / f"{name}.parquet", compression="lz4")

    def has(self, table: str) -> bool:
        """Whether bronze gives the table any rows."""
        return bool(self._files(table))

    def keys(self, table: str) -> pl.DataFrame:
        """Read keys and fingerprints of the rows that bronze gives the table."""
        schema = silver_schema(table)
        files = self._files(table)
        rows = pl.scan_parquet(files, glob=False) if files else pl.LazyFrame(schema={**schema, BRONZE_VERSION: pl.Int64})
        kept = [name for name in _KEYS if name in schema]
        return with_fingerprints(rows, table).select(*kept, BRONZE_VERSION, ROW, CONTENT).collect(engine="streaming")

    def rows(self, table: str, wanted: pl.DataFrame) -> pa.RecordBatchReader:
        """Read the whole rows of some keys and fingerprints, file by file."""
        schema = silver_schema(table)
        empty = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest())
        on = [*keys_of(table), ROW]

        def batches() -> Iterator[pa.RecordBatch]:
            for file in self._files(table):
                candidates = with_fingerprints(pl.scan_parquet(file, glob=False), table).collect()
                rows = candidates.join(wanted.select(on), on=on, how="semi", nulls_equal=True).select(schema.names()).cast(schema)
                yield from rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(empty.schema).to_batches()

        return pa.RecordBatchReader.from_batches(empty.schema, batches())

    def _files(self, table: str) -> list[Path]:
        return sorted((self.folder / table).glob("*.parquet"))


def staged_day(lake: Lake, day: date, folder: Path) -> StagedDay:
    """Describe a day, not staged yet, with the bronze tables as they are now."""
    sources = []
    for name, handle in lake.open_all("bronze", BRONZE_TABLES).items():
        if handle is None:
            refuse_lost_bronze(lake, name)
        else:
            sources.append(Source(name, handle, progress_app(handle), silver_progress(lake, handle)))
    return StagedDay(day, sources, folder)


def keys_of(table: str) -> Sequence[str]:
    """Return the columns that identify a table's row, duplicates included."""
    return _KEYS_OF_NO_EVENT.get(table, ("activity_id", "source", "message_id", "item_index"))


def partition_files(handle: DeltaTable, day: date) -> list[str]:
    """List the addresses of a day's data files, in order."""
    return sorted(all_files(handle, ("received_date", day.isoformat())))


def with_all_columns(rows: pl.LazyFrame, table: str) -> pl.LazyFrame:
    """Add the catalogue's columns that are missing, as null: those that the table lacks yet, and the partition column, which is in no file."""
    present = rows.collect_schema()
    return rows.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in silver_schema(table).items() if name not in present)


def with_fingerprints(rows: pl.LazyFrame, table: str) -> pl.LazyFrame:
    """Add ``ROW`` and ``CONTENT`` to rows of a table; columns that an older file lacks are null."""
    schema = silver_schema(table)
    full = with_all_columns(rows, table)
    whole = [name for name in schema if name != "received_date"]
    content = content_columns(pl.DataFrame(schema=schema))
    return full.with_columns(_hash(whole, schema).alias(ROW), _hash(content, schema).alias(CONTENT))


def _hash(columns: Sequence[str], schema: pl.Schema) -> pl.Expr:
    """Hash some columns; lists are hashed as JSON."""
    hashable = [pl.struct(name).struct.json_encode().alias(name) if isinstance(schema[name], pl.List) else pl.col(name) for name in columns]
    return pl.struct(hashable).hash()
