"""Item coverage: items that begin in bodies and are in no row and no reject, and messages of which not all items were read.

This module reads the counts back from silver's ledgers. :mod:`mg_lakehouse.events.item_count` counts the items.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.events.rejects import Reason
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import files_between
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import SliceLedger, posted, since

__all__ = ["Coverage", "coverage"]


class Coverage(NamedTuple):
    """For a span of time: how many items begin in bodies and are in no row and no reject, and the ids of messages rejected for that."""

    uncovered: int
    overlooked: tuple[str, ...]


def coverage(lake: Lake, handle: DeltaTable | None, first: datetime, last: datetime) -> Coverage:
    """Read the coverage of messages received between two times (UTC) from all sources, as far back as the log of ``rejected_items`` goes.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    if handle is None:
        return Coverage(0, ())
    with store_errors(f"silver/{REJECTED_ITEMS} in the lake {lake.uri}"):
        uncovered = sum(account.ledger.uncovered for account in since(posted(handle, SliceLedger), first))
        files = files_between(handle, "received_at", [(first, last)])
        if not files:
            return Coverage(uncovered, ())
        overlooked = (pl.col("reason") == Reason.OVERLOOKED_ITEMS.value) & pl.col("received_at").is_between(first, last)
        messages = lake.scan(files, handle).filter(overlooked).select("message_id").collect(engine="streaming")
    return Coverage(uncovered, tuple(messages["message_id"].sort()))
