"""Writes ``bronze/account_activity``: the daily files of the AccountActivity API, each bundle of a file once.

A bundle's id combines the file's day and type with the bundle's place and text. So a file that is fetched again, or whose commits were
killed midway, adds only what is missing. ``parts`` in the last bundle states that the whole file is there.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final, NamedTuple

import polars as pl

from mg_lakehouse.bronze.append import append_batch, bundle_rows, in_batches
from mg_lakehouse.bronze.read_progress import require_whole
from mg_lakehouse.bronze.tables import ACCOUNT_ACTIVITY, ACTIVITY_SCHEMA
from mg_lakehouse.events.formats.xml_file import FileBundle
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.file_stats import data_files
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.scratch import scratch_folder
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.daily_file import ActivityFile, ProgressCallback, download_activity
from mg_lakehouse.sources.web_service import WebService

__all__ = ["Fetched", "FileKey", "commit_bundles", "fetch_activity", "files_in_bronze"]

_WHAT: Final = f"bronze/{ACCOUNT_ACTIVITY.name}"


class FileKey(NamedTuple):
    """The identity of a daily file."""

    day: date
    activity_type: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result of fetching a daily file.

    ``file`` is ``None`` where bronze had the file and it was not fetched. ``new`` bundles were committed, ``already`` bundles were in bronze.
    """

    key: FileKey
    file: ActivityFile | None = None
    new: int = 0
    already: int = 0
    commits: int = 0


def fetch_activity(
    service: WebService, lake: Lake, settings: Settings, key: FileKey, *, again: bool = False, progress: ProgressCallback | None = None
) -> Fetched:
    """Fetch a daily file into bronze, unless bronze has it.

    Args:
        service: the source of the file.
        lake: the destination.
        settings: the size of a commit.
        key: the file.
        again: fetch it even if bronze has it; if the file changed, the new bundles are committed.
        progress: called with the bytes fetched and read, and with the bundles after each commit.

    Raises:
        PermanentError, TransientError: as :func:`download_activity` and :func:`append_batch` raise them; what is committed stays, and the
            next call adds what is missing.
    """
    if not again and key in files_in_bronze(lake, [key.day]):
        return Fetched(key)
    with scratch_folder("activity") as folder:
        file = download_activity(service, key.day, key.activity_type, folder.path, progress=progress)
        return commit_bundles(lake, settings, file, received_at=datetime.now(UTC), progress=progress)


def files_in_bronze(lake: Lake, days: Collection[date]) -> dict[FileKey, set[str]]:
    """List the files of some days that bronze holds as a whole, with the digests of each.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    files: dict[FileKey, set[str]] = {}
    rows = _rows_of_days(lake, days)
    if rows is None:
        return files
    with store_errors(f"{_WHAT} in the lake {lake.uri}"):
        ends = rows.filter(pl.col("parts").is_not_null()).select("activity_date", "activity_type", "file_sha256").unique().collect()
    for day, activity_type, digest in ends.iter_rows():
        files.setdefault(FileKey(day, activity_type), set()).add(digest)
    return files


def _rows_of_days(lake: Lake, days: Collection[date]) -> pl.LazyFrame | None:
    """Return the rows of ``bronze/account_activity`` for files of some days; ``None`` where there are none."""
    handle = lake.open(ACCOUNT_ACTIVITY.layer, ACCOUNT_ACTIVITY.name)
    if handle is None or not days:
        return None
    with store_errors(f"{_WHAT} in the lake {lake.uri}"):
        low, high = pl.col("min.activity_date"), pl.col("max.activity_date")
        within = ((low <= max(days)) & (high >= min(days))) | low.is_null() | high.is_null()
        files = data_files(handle, "activity_date").filter(within)["address"].to_list()
    return lake.scan(files, handle).filter(pl.col("activity_date").is_in(list(days))) if files else None


def commit_bundles(
    lake: Lake, settings: Settings, file: ActivityFile, *, received_at: datetime, progress: ProgressCallback | None = None
) -> Fetched:
    """Commit a file's bundles in batches, each bundle once.

    Raises:
        PermanentError, TransientError: what is committed stays; a second call adds what is missing.
    """
    require_whole(lake, ACCOUNT_ACTIVITY.name)
    key = FileKey(file.day, file.activity_type)
    if file.sha256 in files_in_bronze(lake, [file.day]).get(key, ()):
        return Fetched(key, file, already=file.bundles)
    new = already = commits = 0
    with file.reader() as reader:
        for bundles in in_batches(reader.bundles(), settings):
            batch_id = uuid.uuid4().hex
            # No variable holds the rows: it would keep them while the next batch is filled.
            receipt = append_batch(
                lake, _rows(file, new + already, bundles, received_at=received_at, batch_id=batch_id), batch_id, table=ACCOUNT_ACTIVITY
            )
            reached(Failpoint.FILE_PART_COMMITTED)
            new, already, commits = new + receipt.new, already + receipt.already, commits + bool(receipt.new)
            if progress is not None:
                progress(new + already, "bundles in bronze")
    return Fetched(key, file, new, already, commits)


def _rows(file: ActivityFile, first: int, bundles: Sequence[FileBundle], *, received_at: datetime, batch_id: str) -> pl.DataFrame:
    """Make bronze rows (:data:`ACTIVITY_SCHEMA`) of consecutive bundles; ``first`` is the place of the first one in the file."""
    rows = bundle_rows(bundles, parts=range(first, first + len(bundles)), received_at=received_at, batch_id=batch_id)
    part = pl.col("part")
    place = part.cast(pl.String).str.zfill(8)
    return (
        rows.select(
            pl.format(f"{file.day}:{file.activity_type}:{{}}:{{}}", place, pl.col("body_sha256").str.head(32)).alias("message_id"),
            # The same in each download, as a redelivery's is: bronze uses it to find duplicates.
            pl.lit(datetime.combine(file.day, time(), UTC)).alias("sent_at"),
            pl.exclude("message_id", "sent_at"),
            activity_date=pl.lit(file.day),
            activity_type=pl.lit(file.activity_type),
            file_sha256=pl.lit(file.sha256),
            parts=pl.when(part == file.bundles - 1).then(file.bundles),
        )
        .select(ACTIVITY_SCHEMA.names())
        .cast(ACTIVITY_SCHEMA)
    )
