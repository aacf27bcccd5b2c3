"""A day of bronze flattened again, table by table, into files of a folder: a day of a busy feed is larger than any memory.

Of each row its keys and a fingerprint are looked at first, which take a tenth of it; whole rows are read when they are committed.
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
from mg_lakehouse.silver.set_aside import flatten_what_can_be

__all__ = [
    "CONTENT",
    "ROW",
    "VERSION",
    "FlattenedDay",
    "Source",
    "flattened_day",
    "keys_of",
    "partition_files",
    "with_all_columns",
    "with_fingerprints",
]

VERSION: Final = "__bronze_version"
"""Column: the bronze version of the row's message, 0 where every table has flattened it."""
ROW: Final = "__row"
"""Column: fingerprint of the whole row, compared within this process only."""
CONTENT: Final = "content"
"""Column: fingerprint of what happened, as against how the row came here."""

_KEYS_OF_NO_EVENT: Final = {REJECTED_ITEMS: ("message_id", "item_index"), SET_ASIDE: ("message_id", "silver_table")}
_KEYS: Final = ("activity_id", "event_at", "source", "message_id", "item_index", "received_at", "silver_table", "reason")


@dataclass(frozen=True, slots=True)
class Source:
    """A bronze table, the id of the transactions in which silver keeps its progress in it, and the version that every table has."""

    name: str
    handle: DeltaTable
    app: str
    flattened: int

    def messages(self, day: date, slice_bytes: int) -> Iterator[pl.DataFrame]:
        """The messages of a day of receipt, some at a time, with ``VERSION``."""
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
        """Whether the bronze table may have more messages of a day by now: its files of that day are others."""
        newest = lake.open("bronze", self.name)
        return newest is None or partition_files(newest, day) != partition_files(self.handle, day)

    def _unflattened(self) -> dict[str, int]:
        """The batches that some table has not flattened, and their versions."""
        found = {}
        for posted in posted_batches(self.handle):
            if posted.version <= self.flattened:
                break
            found[posted.ledger.batch_id] = posted.version
        return found


def _versioned(messages: pl.DataFrame, day: date, versions: Mapping[str, int]) -> pl.DataFrame:
    version = pl.col("batch_id").replace_strict(versions, default=0, return_dtype=pl.Int64)
    received_at = pl.col("received_at").cast(pl.Datetime("us", "UTC"))
    return messages.with_columns(version.alias(VERSION), received_at, received_date=pl.lit(day)).sort("received_at", "message_id")


@dataclass(frozen=True, slots=True)
class FlattenedDay:
    """A day of all sources, flattened into ``folder``."""

    day: date
    sources: Sequence[Source]
    folder: Path

    def stage(self, lake: Lake, slice_bytes: int) -> Iterator[int]:
        """Flatten the messages into files, and give out how many, part by part."""
        part = 0
        for source in self.sources:
            with store_errors(f"bronze/{source.name} of {self.day} in the lake {lake.uri}"):
                for messages in source.messages(self.day, slice_bytes):
                    flattened, set_aside = flatten_what_can_be(messages, source=source.name, carry=(VERSION,))
                    for table, rows in (*flattened.tables.items(), (REJECTED_ITEMS, flattened.rejected), (SET_ASIDE, set_aside)):
                        self.add(table, rows, f"{part:06}")
                    part += 1
                    yield messages.height

    def add(self, table: str, rows: pl.DataFrame, name: str) -> None:
        """Put rows of a table by."""
        if rows.height:
            (self.folder / table).mkdir(exist_ok=True)
            rows.write_parquet(self.folder / table / f"{name}.parquet", compression="lz4")

    def has(self, table: str) -> bool:
        """Whether bronze gives the table any row."""
        return bool(self._files(table))

    def keys(self, table: str) -> pl.DataFrame:
        """Keys and fingerprints of the rows that bronze gives the table."""
        schema = silver_schema(table)
        files = self._files(table)
        rows = pl.scan_parquet(files, glob=False) if files else pl.LazyFrame(schema={**schema, VERSION: pl.Int64})
        kept = [name for name in _KEYS if name in schema]
        return with_fingerprints(rows, table).select(*kept, VERSION, ROW, CONTENT).collect(engine="streaming")

    def rows(self, table: str, wanted: pl.DataFrame) -> pa.RecordBatchReader:
        """Whole rows of some keys with their fingerprints, part by part."""
        schema = silver_schema(table)
        empty = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest())
        on = [*keys_of(table), ROW]

        def batches() -> Iterator[pa.RecordBatch]:
            for file in self._files(table):
                part = with_fingerprints(pl.scan_parquet(file, glob=False), table).collect()
                rows = part.join(wanted.select(on), on=on, how="semi", nulls_equal=True).select(schema.names()).cast(schema)
                yield from rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(empty.schema).to_batches()

        return pa.RecordBatchReader.from_batches(empty.schema, batches())

    def _files(self, table: str) -> list[Path]:
        return sorted((self.folder / table).glob("*.parquet"))


def flattened_day(lake: Lake, day: date, folder: Path) -> FlattenedDay:
    """A day that is still to be staged, of the bronze tables as they are now."""
    sources = []
    for name, handle in lake.open_all("bronze", BRONZE_TABLES).items():
        if handle is None:
            refuse_lost_bronze(lake, name)
        else:
            sources.append(Source(name, handle, progress_app(handle), silver_progress(lake, handle)))
    return FlattenedDay(day, sources, folder)


def keys_of(table: str) -> Sequence[str]:
    """Columns that tell a table's rows apart, whatever became of copies."""
    return _KEYS_OF_NO_EVENT.get(table, ("activity_id", "source", "message_id", "item_index"))


def partition_files(handle: DeltaTable, day: date) -> list[str]:
    """Addresses of the data files of a day of receipt, in order."""
    return sorted(all_files(handle, ("received_date", day.isoformat())))


def with_all_columns(rows: pl.LazyFrame, table: str) -> pl.LazyFrame:
    """Rows of a table with every column of the catalogue; one that the table lacks yet, and the partition's, which is in no file, are null."""
    held = rows.collect_schema()
    return rows.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in silver_schema(table).items() if name not in held)


def with_fingerprints(rows: pl.LazyFrame, table: str) -> pl.LazyFrame:
    """Rows of a table with ``ROW`` and ``CONTENT``; columns that an older file lacks are null."""
    schema = silver_schema(table)
    full = with_all_columns(rows, table)
    whole = [name for name in schema if name != "received_date"]
    content = content_columns(pl.DataFrame(schema=schema))
    return full.with_columns(_hash(whole, schema).alias(ROW), _hash(content, schema).alias(CONTENT))


def _hash(columns: Sequence[str], schema: pl.Schema) -> pl.Expr:
    """Hash of some columns; lists are hashed as JSON."""
    hashable = [pl.struct(name).struct.json_encode().alias(name) if isinstance(schema[name], pl.List) else pl.col(name) for name in columns]
    return pl.struct(hashable).hash()
