"""The daily files against the queue: of each day and type, how many events both had, and how many only one of them.

A file's events are read from its bundles in bronze, for silver has each event once and says only which source came first. Of the ids, 64-bit
hashes are kept: a day of eight million events takes 64 MB.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa

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
    """A day and type: distinct events of the file, those that the queue brought too, and those that only one of the two did.

    ``only_queue`` is ``None`` where silver does not say which events are of the type: those of elements that nobody knows.
    """

    day: date
    activity_type: str
    in_file: int
    in_both: int
    only_file: int
    only_queue: int | None


def compare_with_queue(lake: Lake, settings: Settings, days: Collection[date], *, slice_rows: int = 256) -> Iterator[Compared]:
    """Compare the files of some days that are in bronze with what silver has from the queue.

    The queue's events of a day are those whose time lies in it in ``MG_ACTIVITY_TIMEZONE``. One that came from the queue after silver had it
    from a file counts as only in the file, for such a copy is dropped.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    for key in sorted(files_in_bronze(lake, days)):
        table = table_of_activity_type(key.activity_type)
        with store_errors(f"bronze/{ACCOUNT_ACTIVITY.name} and silver/{table} in the lake {lake.uri}"):
            ids = _ids_of_file(lake, key, table, slice_rows)
            queue = _ids_of_queue(lake, table, span_of_day(key.day, ZoneInfo(settings.activity_timezone)))
            both = ids.join(queue, on="id", how="semi").height
        unnamed = key.activity_type in UNNAMED_ACTIVITY_TYPES
        yield Compared(*key, ids.height, both, ids.height - both, None if unnamed else queue.filter("in_day").height - _within(queue, ids))


def _within(queue: pl.DataFrame, ids: pl.DataFrame) -> int:
    return queue.filter("in_day").join(ids, on="id", how="semi").height


def _ids_of_file(lake: Lake, key: FileKey, table: str, slice_rows: int) -> pl.DataFrame:
    """Hashed ids of the events of a file, which is read some bundles at a time, as it is when it is flattened."""
    found = [pl.DataFrame(schema={"id": pl.UInt64()})]
    handle = lake.open(ACCOUNT_ACTIVITY.layer, ACCOUNT_ACTIVITY.name)
    if handle is None:
        return found[0]
    import pyarrow.dataset as ds  # noqa: PLC0415  it takes 0.3 s, which no other run need pay

    of_file = (ds.field("activity_date") == key.day) & (ds.field("activity_type") == key.activity_type)
    columns = ["message_id", "body", "received_at", "received_date"]
    for batch in handle.to_pyarrow_dataset().to_batches(columns=columns, filter=of_file, batch_size=slice_rows):
        messages = pl.DataFrame(pa.Table.from_batches([batch])).with_columns(pl.col("received_at").cast(TIMESTAMP))
        flattened = flatten(messages, source=ACCOUNT_ACTIVITY.name).tables
        if table in flattened:
            found.append(flattened[table].select(_hashed()).unique())
    return pl.concat(found).unique()


def _ids_of_queue(lake: Lake, table: str, hours: tuple[datetime, datetime]) -> pl.DataFrame:
    """Hashed ids of the events that came from the queue first, of the day and those a day around it, and whether they are of the day."""
    around = (moved(hours[0], -timedelta(days=1)), moved(hours[1], timedelta(days=1)))
    handle = lake.open("silver", table)
    files = [] if handle is None else files_between(handle, "event_at", [around])
    if handle is None or not files:
        return pl.DataFrame(schema={"id": pl.UInt64(), "in_day": pl.Boolean()})
    rows = lake.scan(files, handle).filter((pl.col("source") == EVENT_FEED.name) & pl.col("event_at").is_between(*around))
    return rows.select(_hashed(), in_day=pl.col("event_at").is_between(*hours)).collect(engine="streaming")


def _hashed() -> pl.Expr:
    return pl.col("activity_id").hash(_SEED).alias("id")
