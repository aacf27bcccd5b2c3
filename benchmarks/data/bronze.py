"""Bronze of a feed: frames of messages, and lakes that hold them, as a drain would have left them."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.data.feed import earlier
from mg_lakehouse.bronze.append import append_batch
from mg_lakehouse.bronze.tables import BRONZE_SCHEMA
from mg_lakehouse.events.schemas import TIMESTAMP
from mg_lakehouse.lake.lake import Lake

__all__ = ["RECEIVED", "copy_lake", "fill", "messages", "repeated"]

RECEIVED: Final = datetime(2026, 3, 20, 12, tzinfo=UTC)
"""When the first message of a feed is received; each next one a millisecond later."""

_TO_A_COMMIT: Final = 2_000  # MG_BATCH_MESSAGES


def messages(feed: pl.DataFrame, *, first: int = 0, received: datetime = RECEIVED, batch_id: str = "") -> pl.DataFrame:
    """Rows of bronze for bodies; message ids are numbers from ``first`` on, as UUIDs."""
    numbers = range(first, first + feed.height)
    return (
        feed.select(
            body="body",
            message_id=pl.Series([str(uuid.UUID(int=number << 64 | number)) for number in numbers], dtype=pl.String),
            body_sha256=pl.lit("0" * 64),
            received_at=pl.lit(received).cast(TIMESTAMP) + pl.duration(milliseconds=pl.int_range(pl.len())),
            receive_count=pl.lit(1, pl.Int64),
            attributes=pl.lit("{}"),
            queue=pl.lit("messagegears-events"),
            batch_id=pl.lit(batch_id),
            envelope=pl.lit(None),
        )
        .with_columns(sent_at=pl.col("received_at") - timedelta(seconds=2), received_date=pl.col("received_at").dt.date())
        .select(BRONZE_SCHEMA.names())
        .cast(BRONZE_SCHEMA)
    )


def repeated(feed: pl.DataFrame, *, events: int) -> Iterator[pl.DataFrame]:
    """The feed again and again with other ids and times, until it holds ``events`` items. The first copy is the feed as it is."""
    left, copy = events, 0
    while left > 0:
        part = earlier(feed, copy) if copy else feed
        if left < int(feed["items"].sum()):
            part = part.filter(pl.col("items").cum_sum() <= left)
        yield part
        left -= int(feed["items"].sum())
        copy += 1


def fill(lake: Lake, feed: pl.DataFrame, *, events: int, first: int = 0, received: datetime = RECEIVED) -> int:
    """Commit a feed of ``events`` items to bronze, 2,000 messages to a commit; returns the number of messages."""
    number = first
    for part in repeated(feed, events=events):
        for batch in part.iter_slices(_TO_A_COMMIT):
            batch_id = f"bench-{number}"
            # Later and later: bronze looks for copies among messages sent at the same time only.
            at = received + timedelta(milliseconds=number - first)
            append_batch(lake, messages(batch, first=number, received=at, batch_id=batch_id), batch_id)
            number += batch.height
    return number - first


def copy_lake(source: Path, target: Path) -> Path:
    """A copy of a local lake by hard links: Delta never changes a file in place, so the copy costs names only."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=os.link)
    return target
