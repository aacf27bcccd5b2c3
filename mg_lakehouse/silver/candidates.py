"""The rows of a silver table among which copies of an activity can be.

A copy has the same activity id and, where it comes from the same source, the same time, for it is the same bundle sent again. A
copy from another source may write that time with another precision or offset. So only files and rows near the times in
question are read, and what a batch costs follows the batch and not the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.lake.file_stats import coarsened, data_files, may_differ, meets, spans_around, within
from mg_lakehouse.lake.lake import Lake

__all__ = ["rows_near"]

_SAME_SOURCE: Final = timedelta(minutes=1)
_OTHER_SOURCE: Final = timedelta(days=1)
_FEW: Final = 8
"""Spans that rows are filtered by, at most: each one is tested on every row of the chosen files that its row group may hold. 64 of them cost a micro-batch 3 s of CPU."""


def rows_near(lake: Lake, handle: DeltaTable, times: pl.Series, sources: Sequence[str]) -> pl.LazyFrame | None:
    """Rows that can be copies of activities at these times (``event_at``) from these sources; ``None`` where there are none.

    Files that may hold rows of another source are looked at within a day of the times, all others within a minute.
    """
    files = data_files(handle, "event_at", "source")
    if files.is_empty():
        return None
    of_others = pl.any_horizontal(may_differ("source", source) for source in sources)
    arms = []
    for margin, wanted in ((_SAME_SOURCE, ~of_others), (_OTHER_SOURCE, of_others)):
        candidates = files.filter(wanted)
        if candidates.is_empty():
            continue
        spans = spans_around(times, margin)
        chosen = candidates.filter(meets("event_at", spans))["address"].to_list()
        if chosen:
            arms.append(lake.scan(chosen, handle).filter(within("event_at", coarsened(spans, _FEW))))
    return pl.concat(arms) if arms else None
