"""The backlog of ``rejected_items``, by reason."""

from __future__ import annotations

from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import all_files
from mg_lakehouse.lake.lake import Lake


def rejected_by_reason(lake: Lake) -> dict[str, int]:
    """Count the rows of ``rejected_items`` by reason, most frequent first."""
    handle = lake.open("silver", REJECTED_ITEMS)
    if handle is None or not (files := all_files(handle)):
        return {}
    with store_errors(f"silver/{REJECTED_ITEMS} in the lake {lake.uri}"):
        counted = lake.scan(files, handle).group_by("reason").len().sort("len", "reason", descending=[True, False]).collect()
    return dict(counted.iter_rows())
