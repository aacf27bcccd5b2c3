"""What changed in gold tables themselves between two builds, from their own change feeds.

It is for a model that keeps the history of numbers, and for one whose rows depend on rows of other keys than their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.commit import Watermark
from mg_lakehouse.lake.sql import identifier
from mg_lakehouse.lake.tables import arrow_schema

__all__ = ["changed_rows", "ids_of_gold", "make_feed", "of_silver", "versions_of_gold"]

_LAYER: Final = "gold/"
"""What the names of gold tables begin with, in the account of what a commit includes."""

_CHANGE_TYPE: Final = pa.field("_change_type", pa.string())
_VERSION: Final = pa.field("_commit_version", pa.int64())
_CHANGE: Final = "case _change_type when 'insert' then 'insert' else 'delete' end as change, _commit_version as version"


def ids_of_gold(tables: Mapping[str, DeltaTable]) -> dict[str, str | None]:
    """Id of each gold table, by the name that it has in an account."""
    return {name: str(handle.metadata().id) for name, handle in _by_account(tables).items()}


def versions_of_gold(tables: Mapping[str, DeltaTable]) -> dict[str, Watermark]:
    """What whoever reads these tables now includes of them, by the name that each has in an account."""
    return {name: Watermark(gold.digest(str(handle.metadata().id)), handle.version()) for name, handle in _by_account(tables).items()}


def of_silver(included: Mapping[str, Watermark]) -> dict[str, Watermark]:
    """What an account says of silver, without what it says of gold."""
    return {name: each for name, each in included.items() if not name.startswith(_LAYER)}


def changed_rows(cursor: duckdb.DuckDBPyConnection, table: str, name: str, handle: DeltaTable, before: Mapping[str, Watermark]) -> bool:
    """Make ``table`` of the rows of a gold table that went or came since the version in the account ``before``.

    A row that a build replaced by the same is none of them. Returns whether it can be known: not of a table that was made anew, or whose log was cut.
    """
    since = _version_in(before, name, handle)
    if since is None:
        return False
    columns = ", ".join(identifier(field.name) for field in arrow_schema(handle))
    try:
        cursor.register("feed", _changes(handle, since))
        cursor.execute(
            f"create or replace table {table} as select {columns} from feed group by all "
            "having count(*) filter (where _change_type = 'insert') <> count(*) filter (where _change_type <> 'insert')"
        )
    except (DeltaError, OSError, duckdb.Error, pa.ArrowException):
        return False
    return True


def _version_in(account: Mapping[str, Watermark], name: str, handle: DeltaTable) -> int | None:
    """The version of a gold table that an account includes; ``None`` where it says none, or the table was made anew since."""
    included = account.get(_LAYER + name)
    known = included is not None and included.version >= 0 and included.incarnation == gold.digest(str(handle.metadata().id))
    return included.version if known and included is not None else None


def _by_account(tables: Mapping[str, DeltaTable]) -> dict[str, DeltaTable]:
    return {_LAYER + name: handle for name, handle in tables.items()}


def make_feed(cursor: duckdb.DuckDBPyConnection, table: str, name: str, handle: DeltaTable, before: Mapping[str, Watermark] | None) -> None:
    """Make ``table`` of what changed in a gold table since the version in the account ``before``.

    Beside the table's columns it has ``change`` (`delete`, `insert`), ``version``, and ``is_redefined``: whether the version was made by other definitions
    than the one before. It is empty where nothing changed, and where it cannot be known: there is no account, the table was made anew, or its log was cut.
    """
    since = None if before is None else _version_in(before, name, handle)
    above = handle.version() if since is None else since
    try:
        _put(cursor, table, _changes(handle, above), gold.redefining_versions(handle, above))
    except (DeltaError, OSError, duckdb.Error, pa.ArrowException):
        _put(cursor, table, _no_changes(handle), [])


def _no_changes(handle: DeltaTable) -> pa.RecordBatchReader:
    return arrow_schema(handle).append(_CHANGE_TYPE).append(_VERSION).empty_table().to_reader()


def _changes(handle: DeltaTable, above: int) -> pa.RecordBatchReader:
    if above == handle.version():
        return _no_changes(handle)
    feed: Any = handle.load_cdf(starting_version=above + 1, ending_version=handle.version())
    return pa.RecordBatchReader.from_stream(feed)


def _put(cursor: duckdb.DuckDBPyConnection, table: str, feed: pa.RecordBatchReader, redefining: Sequence[int]) -> None:
    cursor.register("feed", feed)
    kept = [field.name for field in feed.schema if not field.name.startswith("_")]
    columns = ", ".join(identifier(name) for name in kept)
    redefined = "list_contains(?::bigint[], _commit_version) as is_redefined"
    cursor.execute(f"create or replace table {table} as select {columns}, {_CHANGE}, {redefined} from feed", [list(redefining)])
