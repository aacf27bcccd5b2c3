"""The silver rows and the rejections that a feed must become."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from mg_lakehouse.testing.feed.truth import Truth

Row = dict[str, Any]
Rows = dict[str, list[Row]]


def expected_rows(truth: Truth) -> Rows:
    """Rows of each silver table, without the lineage columns ``source``, ``message_id``, ``item_index``, ``received_at``, ``received_date``.

    An item without an ActivityId gets one of our own making that starts with ``sha256:``. It is not the one of the
    tables: compare such rows by :func:`without_made_up_ids`.
    """
    found: Rows = {}
    for row in truth.rows:
        values = dict(row.values)
        if values["activity_id"] is None:
            content = repr((row.table, sorted(values.items())))
            values["activity_id"] = "sha256:" + hashlib.sha256(content.encode()).hexdigest()
        found.setdefault(row.table, []).append(values)
    return found


def without_made_up_ids(rows: list[Row]) -> list[Row]:
    """The rows with ``sha256:`` in place of an id that starts with it."""
    return [row | {"activity_id": "sha256:"} if row["activity_id"].startswith("sha256:") else row for row in rows]


def expected_rejected(truth: Truth) -> Counter[tuple[str, str | None]]:
    """How often each (reason, element) must stand in ``rejected_items``; the element is ``None`` for a whole message."""
    return Counter((rejected.reason, rejected.element) for rejected in truth.rejected)
