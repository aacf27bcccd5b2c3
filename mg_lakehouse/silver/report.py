"""Counts what a run of silver did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["ProgressCallback", "SilverReport", "TableCount", "merged"]


class TableCount(NamedTuple):
    """A table's counts of a slice. ``conflicts`` are duplicates with another content; they were rejected."""

    rows: int = 0
    duplicates: int = 0
    conflicts: int = 0

    def plus(self, other: TableCount) -> TableCount:
        """Return the sum of both."""
        return TableCount(self.rows + other.rows, self.duplicates + other.duplicates, self.conflicts + other.conflicts)


@dataclass(frozen=True, slots=True)
class SilverReport:
    """The counts of a run. ``tables`` counts event tables, ``rejected`` items by reason, ``set_aside`` messages by reason; versions are bronze's."""

    from_version: int
    to_version: int
    messages: int = 0
    items: int = 0
    tables: dict[str, TableCount] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    set_aside: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows added to event tables."""
        return sum(count.rows for count in self.tables.values())


ProgressCallback = Callable[[SilverReport], None]


def merged(reports: Sequence[SilverReport]) -> SilverReport:
    """Merge reports of several sources into one, with the versions of the first."""
    tables: dict[str, TableCount] = {}
    rejected: Counter[str] = Counter()
    set_aside: Counter[str] = Counter()
    for report in reports:
        rejected.update(report.rejected)
        set_aside.update(report.set_aside)
        for table, count in report.tables.items():
            tables[table] = tables.get(table, TableCount()).plus(count)
    messages, items = sum(report.messages for report in reports), sum(report.items for report in reports)
    return SilverReport(reports[0].from_version, reports[0].to_version, messages, items, tables, dict(rejected), dict(set_aside))
