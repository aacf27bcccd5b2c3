"""Cuts bronze into slices of versions, and flattens them.

A slice is flattened while the one before it is committed. :mod:`mg_lakehouse.silver.commit` commits it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, takewhile
from typing import Final, NamedTuple

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.events.flatten import Flattened
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import posted_batches
from mg_lakehouse.silver.set_aside import flatten_or_set_aside

__all__ = ["BRONZE_VERSION", "ReadSlice", "Slice", "read_ahead", "slices_of"]

BRONZE_VERSION: Final = "__bronze_version"

_LARGEST_SLICE: Final = 500
"""Bronze versions in one slice, at most; the limit of bytes may cut it sooner."""


class Slice(NamedTuple):
    """Bronze versions ``low + 1`` to ``high`` of a source; ``app`` is the transaction id of silver's progress in it."""

    source: str
    app: str
    low: int
    high: int

    def is_cut_by(self, version: int) -> bool:
        """Whether a table at bronze ``version`` has a part of the slice. Only another run can have committed that."""
        return self.low < version < self.high


def slices_of(bronze: DeltaTable, start: int, target: int, *, cuts: Sequence[int], slice_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield version ranges ``(low, high]``, limited in bytes, with a border wherever a table is ahead of the others.

    So no table's ledger crosses a border, and the ledgers between two borders add up.
    """
    newest = takewhile(lambda posted: posted.version > start, posted_batches(bronze))
    sizes = {posted.version: posted.ledger.bytes for posted in newest}
    borders = [start]
    size = 0
    for version in range(start + 1, target + 1):
        size += sizes.get(version, 0)
        if size >= slice_bytes or version - borders[-1] >= _LARGEST_SLICE or version in cuts or version == target:
            borders.append(version)
            size = 0
    yield from pairwise(borders)


class ReadSlice(NamedTuple):
    """A slice, its messages and their rows; ``set_aside`` are the messages that could not be flattened."""

    part: Slice
    messages: pl.DataFrame
    flattened: Flattened
    set_aside: pl.DataFrame


def read_ahead(lake: Lake, bronze: DeltaTable, parts: Sequence[Slice]) -> Iterator[ReadSlice]:
    """Yield flattened slices. The next one is flattened while the caller commits this one: neither keeps two cores busy alone."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        ahead = pool.submit(_read_slice, lake, bronze, parts[0])
        for following in parts[1:]:
            read = ahead.result()
            ahead = pool.submit(_read_slice, lake, bronze, following)
            yield read
        yield ahead.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_slice(lake: Lake, bronze: DeltaTable, part: Slice) -> ReadSlice:
    messages = _read_bronze(lake, bronze, part)
    flattened, set_aside = flatten_or_set_aside(messages, source=part.source, carry=(BRONZE_VERSION,))
    reached(Failpoint.SILVER_READ)
    if set_aside.height:
        messages = messages.join(set_aside, on="message_id", how="anti", maintain_order="left")
    return ReadSlice(part, messages, flattened, set_aside)


def _read_bronze(lake: Lake, bronze: DeltaTable, part: Slice) -> pl.DataFrame:
    """Read a slice's messages from the change feed, which shows appended rows and not those that compaction rewrote."""
    columns = ["message_id", "body", "received_at", "received_date", "_commit_version"]
    with store_errors(f"bronze/{part.source} (versions {part.low + 1} to {part.high}) in the lake {lake.uri}"):
        stream = bronze.load_cdf(part.low + 1, part.high, columns=columns)
        frame = pl.DataFrame(stream.read_all())
    return frame.select(*columns[:-1], pl.col("_commit_version").cast(pl.Int64).alias(BRONZE_VERSION)).sort("received_at", "message_id")
