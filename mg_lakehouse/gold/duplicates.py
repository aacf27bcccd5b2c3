"""What the ledgers of silver say of the copies that were dropped: they are in no row, and a ledger lives as long as its log entry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from deltalake import DeltaTable

from mg_lakehouse.lake.ledger import HOUR_FORMAT, SliceLedger, posted

__all__ = ["Duplicates", "duplicates_above"]


class Duplicates(NamedTuple):
    """How many copies of a silver table's rows a commit dropped that were received in a UTC hour."""

    table: str
    hour: datetime
    duplicates: int


def duplicates_above(name: str, handle: DeltaTable, version: int) -> list[Duplicates]:
    """What a silver table's commits above a version dropped, as far back as its log goes."""
    if handle.version() <= version:
        return []
    found = []
    for each in posted(handle, SliceLedger):
        if each.version <= version:
            break
        if each.ledger.duplicates:  # elsewhere the hours are of items
            hours = ((datetime.strptime(hour, HOUR_FORMAT).replace(tzinfo=UTC), number) for hour, number in each.ledger.hours.items())
            found += [Duplicates(name, hour, number) for hour, number in hours if number]
    return found
