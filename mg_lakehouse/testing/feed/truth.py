"""What a generated feed must become: written down while the feed is made, never read back from its XML."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

__all__ = ["Cell", "ErrorEntries", "Rejected", "TrueRow", "Truth"]

ErrorEntries = list[dict[str, str | None]]
"""Value of an ``errors`` column: ``{"error_code": ..., "error_message": ...}`` each."""

Cell = str | int | bool | datetime | date | ErrorEntries | None
"""A value of a silver row; a ``datetime`` is aware, in UTC."""


@dataclass(frozen=True, slots=True)
class TrueRow:
    """A distinct valid item and the silver row that it must become.

    ``values`` holds every column of the table except the lineage columns ``source``, ``message_id``,
    ``item_index``, ``received_at`` and ``received_date``. ``_rescued_data`` is the text of a JSON object, to be
    compared as JSON. ``activity_id`` is ``None`` for an item of a 3.0 feed, which has none: the row must
    have one that starts with ``sha256:``. ``bundle`` and ``item`` (both from 0) say where it was written first, ``xml`` how.
    """

    table: str
    values: dict[str, Cell]
    bundle: int
    item: int
    xml: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An item, or with ``item`` ``None`` a whole message, that cannot become a row."""

    reason: str
    element: str | None
    bundle: int
    item: int | None


@dataclass(slots=True)
class Truth:
    """All that a feed must become.

    ``items`` (all that were written) = ``len(rows)`` + ``duplicates`` + the rejected that have an ``item``.
    """

    rows: list[TrueRow] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    items: int = 0
    duplicates: int = 0

    def by_table(self) -> dict[str, list[TrueRow]]:
        """The rows of each table that has any."""
        found: dict[str, list[TrueRow]] = {}
        for row in self.rows:
            found.setdefault(row.table, []).append(row)
        return found
