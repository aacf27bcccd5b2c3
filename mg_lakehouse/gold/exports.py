"""Exports of a gold table since the export before, that miss nothing.

The rows of such a table say at which time the lake had all that they are made of (``exported_by``). A commit notes the mark up to which gold has
read silver, by the same clock: whoever exported up to a mark asks for what is newer than it the next time. An hour is left for what was received
and is not in silver yet. A row may come later still, with a time that the mark has passed: silver stood still, days of it were made anew, or a
definition changed. Such a commit says so, and an export since an older mark is of everything.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import duckdb
from deltalake import DeltaTable, Transaction

from mg_lakehouse.gold.model import Model
from mg_lakehouse.lake.commit_log import app_version
from mg_lakehouse.lake.sql import identifier, time_literal

__all__ = ["Exports", "marked_exports", "next_exports"]

_MARGIN: Final = timedelta(hours=1)
_READ_TO: Final = "gold:read_to"
_RESTATED_TO: Final = "gold:restated_to"
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Exports(NamedTuple):
    """What a version of a table says of its exports, in UTC and whole seconds.

    ``read_to`` is the mark that the next export begins at; an export since ``restated_to`` or earlier is to be of all rows.
    """

    read_to: datetime | None = None
    restated_to: datetime | None = None

    def transactions(self) -> list[Transaction]:
        """As app transactions of a commit."""
        named = {_READ_TO: self.read_to, _RESTATED_TO: self.restated_to}
        return [Transaction(name, (at - _EPOCH) // _SECOND) for name, at in named.items() if at is not None]

    def is_restated_since(self, mark: datetime) -> bool:
        """Whether rows may have come that an export since a mark would miss."""
        return self.restated_to is not None and mark <= self.restated_to


def marked_exports(handle: DeltaTable) -> Exports:
    """What the newest commits of a table say of its exports."""
    return Exports(*(_as_time(app_version(handle, name)) for name in (_READ_TO, _RESTATED_TO)))


def next_exports(
    cursor: duckdb.DuckDBPyConnection, model: Model, *, before: Exports, known: str, staged: str, newest_received_at: datetime | None
) -> Exports:
    """What the commit of the rows in ``staged`` is to say, given those that the table has in ``known``; both are sources of a ``from``.

    Args:
        cursor: a cursor of the build's database.
        model: the table's model.
        before: what the table says so far.
        known: the table's rows.
        staged: the rows that take their place.
        newest_received_at: of the silver rows that they include; ``None`` where that is not known.
    """
    read_to = before.read_to
    if newest_received_at is not None:
        mark = (newest_received_at - _MARGIN).replace(microsecond=0)
        read_to = mark if read_to is None else max(mark, read_to)
    if before.read_to is None or not _came_late(cursor, model, before.read_to, known, staged):
        return Exports(read_to, before.restated_to)
    return Exports(read_to, before.read_to)


def _came_late(cursor: duckdb.DuckDBPyConnection, model: Model, mark: datetime, known: str, staged: str) -> bool:
    assert model.exported_by is not None
    same = " and ".join(f"staged.{identifier(name)} = known.{identifier(name)}" for name in (*model.keys, model.exported_by))
    query = (
        f"select 1 from {staged} as staged anti join {known} as known on {same} "
        f"where staged.{identifier(model.exported_by)} < {time_literal(mark)} limit 1"
    )
    return cursor.execute(query).fetchone() is not None


def _as_time(seconds: int | None) -> datetime | None:
    return None if seconds is None else _EPOCH + seconds * _SECOND
