"""Compares the daily files with the queue: per day and type, how many events both had, and how many only one of them.

A file's events are read from its bundles in bronze: silver has each event once and records only the source that came first. Ids are kept as
64-bit hashes: a day of eight million events takes 64 MB.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, datetime, timedelta
from functools import cache, partial
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from mg_lakehouse._util.dates import moved, span_of_day
from mg_lakehouse.bronze.account_activity import FileKey, files_in_bronze
from mg_lakehouse.bronze.tables import ACCOUNT_ACTIVITY, EVENT_FEED
from mg_lakehouse.events.catalogue import UNNAMED_ACTIVITY_TYPES, table_of_activity_type
from mg_lakehouse.events.flatten import flatten
from mg_lakehouse.events.schemas import TIMESTAMP
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import files_between
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings

__all__ = ["Compared", "compare_with_queue"]

_SEED: Final = 0


class Compared(NamedTuple):
    """A day and type: distinct events of the file, those that the queue delivered too, and those that only one of the two had.

    ``only_queue`` is ``None`` if silver does not record which events are of the type: events of unknown elements.
    """

    day: date
    activity_type: str
    in_file: int
    in_both: int
    only_file: int
    only_queue: int | None


def compare_with_queue(lake: Lake, settings: Settings, days: Collection[date], *, slice_rows: int = 256) -> Iterator[Compared]:
    """Compare bronze's files of some days with silver's events from the queue.

    An event belongs to a day by its time in ``MG_ACTIVITY_TIMEZONE``. An event that came from the queue after silver had it from a file counts
    as only in the file, because such a copy is dropped.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    bronze = lake.open(ACCOUNT_ACTIVITY.layer, ACCOUNT_ACTIVITY.name)
    # Opened once: opening both for each of a month's 124 files took half of its time.
    silver = cache(partial(lake.open, "silver"))
    for key in sorted(files_in_bronze(lake, days)):
        table = table_of_activity_type(key.activity_type)
        with store_errors(f"bronze/{ACCOUNT_ACTIVITY.name} and silver/{table} in the lake {lake.uri}"):
            ids = _ids_of_file(bronze, key, table, slice_rows)
            queue = _ids_of_queue(lake, silver(table), span_of_day(key.day, ZoneInfo(settings.activity_timezone)))
            both = ids.join(queue, on="id", how="semi").height
        unnamed = key.activity_type in UNNAMED_ACTIVITY_TYPES
        yield Compared(*key, ids.height, both, ids.height - both, None if unnamed else queue.filter("in_day").height - _within(queue, ids))


def _within(queue: pl.DataFrame, ids: pl.DataFrame) -> int:
    return queue.filter("in_day").join(ids, on="id", how="semi").height


def _ids_of_file(handle: DeltaTable | None, key: FileKey, table: str, slice_rows: int) -> pl.DataFrame:
    """Return the hashed ids of a file's events. It is read ``slice_rows`` bundles at a time, as when it is flattened."""
    ids = [pl.DataFrame(schema={"id": pl.UInt64()})]
    if handle is None:
        return ids[0]
    import pyarrow.dataset as ds  # noqa: PLC0415  it takes 0.3 s, which no other run should pay

    of_file = (ds.field("activity_date") == key.day) & (ds.field("activity_type") == key.activity_type)
    columns = ["message_id", "body", "received_at", "received_date"]
    # By their statistics: of a month's 124 data files one is looked into, not each for each.
    dataset = handle.to_pyarrow_dataset(
        file_pruning_predicate=[("activity_date", "=", key.day.isoformat()), ("activity_type", "=", key.activity_type)]
    )
    for batch in dataset.to_batches(columns=columns, filter=of_file, batch_size=slice_rows):
        messages = pl.DataFrame(pa.Table.from_batches([batch])).with_columns(pl.col("received_at").cast(TIMESTAMP))
        flattened = flatten(messages, source=ACCOUNT_ACTIVITY.name).tables
        if table in flattened:
            ids.append(flattened[table].select(_hashed()).unique())
    return pl.concat(ids).unique()


def _ids_of_queue(lake: Lake, handle: DeltaTable | None, hours: tuple[datetime, datetime]) -> pl.DataFrame:
    """Return hashed ids of events that came from the queue first, from a day before to a day after, with ``in_day`` for those of the day."""
    around = (moved(hours[0], -timedelta(days=1)), moved(hours[1], timedelta(days=1)))
    files = [] if handle is None else files_between(handle, "event_at", [around])
    if handle is None or not files:
        return pl.DataFrame(schema={"id": pl.UInt64(), "in_day": pl.Boolean()})
    rows = lake.scan(files, handle).filter((pl.col("source") == EVENT_FEED.name) & pl.col("event_at").is_between(*around))
    return rows.select(_hashed(), in_day=pl.col("event_at").is_between(*hours)).collect(engine="streaming")


def _hashed() -> pl.Expr:
    return pl.col("activity_id").hash(_SEED).alias("id")
