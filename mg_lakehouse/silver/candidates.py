"""Reads the rows of a silver table that may be copies of given activities.

A copy has the same activity id. From the same source it also has the same time, for it is the same bundle sent again. A copy from
another source may write that time with another precision or offset. So only files and rows near those times are read, and the
cost of a batch follows the batch, not the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.lake.file_stats import coarsened, data_files, may_differ, meets, spans_around, within
from mg_lakehouse.lake.lake import Lake

__all__ = ["duplicate_candidates"]

_SAME_SOURCE: Final = timedelta(minutes=1)
_OTHER_SOURCE: Final = timedelta(days=1)
_FEW: Final = 8
"""Time spans in the row filter, at most. Each span is tested on every row that a chosen row group may hold: 64 of them cost a micro-batch 3 s of CPU."""


def duplicate_candidates(lake: Lake, handle: DeltaTable, times: pl.Series, sources: Sequence[str]) -> pl.LazyFrame | None:
    """Return the rows that may be copies of activities at these times (``event_at``) from these sources; ``None`` where there are none.

    Files that may hold rows of another source are read within a day of the times, all others within a minute.
    """
    files = data_files(handle, "event_at", "source")
    if files.is_empty():
        return None
    from_others = pl.any_horizontal(may_differ("source", source) for source in sources)
    arms = []
    for margin, condition in ((_SAME_SOURCE, ~from_others), (_OTHER_SOURCE, from_others)):
        candidates = files.filter(condition)
        if candidates.is_empty():
            continue
        spans = spans_around(times, margin)
        chosen = candidates.filter(meets("event_at", spans))["address"].to_list()
        if chosen:
            arms.append(lake.scan(chosen, handle).filter(within("event_at", coarsened(spans, _FEW))))
    return pl.concat(arms) if arms else None
