"""What the ledgers of silver say of the copies that were dropped: they are in no row, and a ledger lives as long as its log entry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from deltalake import DeltaTable

from mg_lakehouse.stores import gold
from mg_lakehouse.stores.gold import Included
from mg_lakehouse.stores.ledger import HOUR_FORMAT, SliceLedger, posted

__all__ = ["Duplicates", "duplicates_since"]


class Duplicates(NamedTuple):
    """How many copies of a silver table's rows a commit dropped that were received in a UTC hour."""

    table: str
    hour: datetime
    duplicates: int


def duplicates_since(tables: Mapping[str, DeltaTable], before: Mapping[str, Included]) -> list[Duplicates]:
    """What the commits of silver tables dropped above the versions that ``before`` includes; all that the logs tell of a table not in it."""
    return [each for name, handle in tables.items() for each in _of_table(name, handle, before.get(name))]


def _of_table(name: str, handle: DeltaTable, before: Included | None) -> list[Duplicates]:
    same = before is not None and before.incarnation == gold.digest(str(handle.metadata().id))
    above = before.version if before is not None and same else -1
    if handle.version() <= above:
        return []
    found = []
    for each in posted(handle, SliceLedger):
        if each.version <= above:
            break
        if each.ledger.duplicates:  # elsewhere the hours are of items
            hours = ((datetime.strptime(hour, HOUR_FORMAT).replace(tzinfo=UTC), number) for hour, number in each.ledger.hours.items())
            found += [Duplicates(name, hour, number) for hour, number in hours if number]
    return found
