"""Conservation: the items of bronze against the rows, duplicates and rejects of silver, summed from the ledgers in the Delta logs.

Only reads. The checks (:mod:`mg_lakehouse.dagster.checks`) decide whether a number is a failure, and what it blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deltalake import DeltaTable

from mg_lakehouse._util.side_by_side import side_by_side
from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import Posted, SliceLedger, posted_slices
from mg_lakehouse.silver.tables import EVENT_TABLES, open_silver

__all__ = ["Conservation", "conservation"]

RECHECKED_VERSIONS: Final = 100
"""Bronze versions that conservation covers when it is executed alone, without a batch. The logs are kept for as many."""


@dataclass(frozen=True, slots=True)
class Conservation:
    """The items of bronze and their outcomes, summed over a range of bronze versions.

    ``rows`` counts event rows, ``rejected`` rows of ``rejected_items`` (conflicting copies included), ``set_aside`` items of messages that
    failed to flatten for an unforeseen reason. ``miscounted`` names tables whose ledger differs from Delta's own count at the write.
    ``unbalanced_sources`` counts sources in a sum that do not balance by themselves. ``uncovered`` counts items that begin in bodies, by a
    count independent of the readers, and are in no row and no reject.
    """

    messages: int
    items: int
    rows: int
    duplicates: int
    rejected: int
    miscounted: tuple[str, ...]
    unbalanced_sources: int = 0
    set_aside: int = 0
    uncovered: int = 0

    @property
    def difference(self) -> int:
        """Items that are missing (positive) or counted twice (negative)."""
        return self.items - self.rows - self.duplicates - self.rejected - self.set_aside

    @property
    def holds(self) -> bool:
        """Whether every item is accounted for, once."""
        return self.difference == 0 and not self.miscounted and not self.unbalanced_sources and not self.uncovered

    def plus(self, other: Conservation) -> Conservation:
        """Add two sources. The sum holds only if each does: a surplus of one does not make up for what the other lacks."""
        return Conservation(
            self.messages + other.messages,
            self.items + other.items,
            self.rows + other.rows,
            self.duplicates + other.duplicates,
            self.rejected + other.rejected,
            tuple(dict.fromkeys((*self.miscounted, *other.miscounted))),
            sum(source.unbalanced_sources or source.difference != 0 for source in (self, other)),
            self.set_aside + other.set_aside,
            self.uncovered + other.uncovered,
        )


def conservation(lake: Lake, *, source: str = "event_feed", above: int, tables: Mapping[str, DeltaTable] | None = None) -> Conservation:
    """Sum the ledgers of the bronze versions above ``above``, in the ``tables`` of :func:`~mg_lakehouse.silver.tables.open_silver`, by default as they are now.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    if tables is None:
        tables = open_silver(lake)
    posted = _posted(tables, source, above)
    slices = posted.pop(REJECTED_ITEMS, [])
    # A slice that another run is committing counts only once `rejected_items`, which is committed last, has it.
    finished = max((each.ledger.high for each in slices), default=above)
    messages = sum(each.ledger.messages for each in slices)
    items = sum(each.ledger.items for each in slices)
    rejected = sum(each.ledger.rows for each in slices)
    rows = duplicates = 0
    miscounted = [REJECTED_ITEMS] if any(each.ledger.rows != each.rows_added for each in slices) else []
    for table, own in posted.items():
        for each in own:
            if each.ledger.high > finished:
                continue
            if each.ledger.rows != each.rows_added and table not in miscounted:
                miscounted.append(table)
            rows, duplicates = rows + each.ledger.rows, duplicates + each.ledger.duplicates
    set_aside, uncovered = sum(each.ledger.set_aside for each in slices), sum(each.ledger.uncovered for each in slices)
    return Conservation(messages, items, rows, duplicates, rejected, tuple(miscounted), set_aside=set_aside, uncovered=uncovered)


def _posted(tables: Mapping[str, DeltaTable], source: str, above: int) -> dict[str, list[Posted[SliceLedger]]]:
    """Read the ledgers of the tables side by side."""
    names = [name for name in (REJECTED_ITEMS, *EVENT_TABLES) if name in tables]
    return dict(zip(names, side_by_side(lambda name: list(posted_slices(tables[name], source, above)), names), strict=True))
