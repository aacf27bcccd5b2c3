"""Whether what begins in the bodies is somewhere: what the ledgers of silver say of it, and the messages of which not all was read.

How items are counted is :mod:`mg_lakehouse.events.item_count`' business; here only what was written down of it is read back.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import polars as pl

from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.events.rejects import Reason
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import files_between
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import SliceLedger, posted, since

__all__ = ["Coverage", "coverage"]


class Coverage(NamedTuple):
    """Of some hours: how many items begin in bodies and are in no row and no reject, and the ids of messages that were rejected for it."""

    uncovered: int
    overlooked: tuple[str, ...]


def coverage(lake: Lake, first: datetime, last: datetime) -> Coverage:
    """What the accounts say of the messages of all sources that were received between two times (UTC), as far back as the log goes.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    handle = lake.open("silver", REJECTED_ITEMS)
    if handle is None:
        return Coverage(0, ())
    with store_errors(f"silver/{REJECTED_ITEMS} in the lake {lake.uri}"):
        uncovered = sum(each.ledger.uncovered for each in since(posted(handle, SliceLedger), first))
        files = files_between(handle, "received_at", [(first, last)])
        if not files:
            return Coverage(uncovered, ())
        overlooked = (pl.col("reason") == Reason.OVERLOOKED_ITEMS.value) & pl.col("received_at").is_between(first, last)
        found = lake.scan(files, handle).filter(overlooked).select("message_id").collect(engine="streaming")
    return Coverage(uncovered, tuple(found["message_id"].sort()))
