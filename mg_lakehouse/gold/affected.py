"""Which keys a change of silver touches: those that the changed rows name, and those that time or a ledger touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from mg_lakehouse.gold.changes import SilverTables
from mg_lakehouse.gold.commit import Watermark
from mg_lakehouse.gold.model import Model
from mg_lakehouse.lake.sql import identifier

__all__ = ["Changes", "make_affected"]


@dataclass(frozen=True, slots=True)
class Changes:
    """What of silver a model's table includes; ``gold`` are by name the sources of what ``also_touched`` may read."""

    silver: SilverTables
    before: Mapping[str, Watermark]
    gold: Mapping[str, str]


def make_affected(cursor: duckdb.DuckDBPyConnection, model: Model, changes: Changes, feeds: Sequence[str]) -> bool:
    """Make the temporary table ``touched``: ``request_id, event_date, received_date``, each null where nothing is said.

    ``feeds`` are the tables of the changed keys of each silver input. Returns whether anything is touched.
    """
    cursor.execute(f"create or replace temp table touched as {_union(feeds)}")
    if model.also_touched is not None:
        _also_touch(cursor, model.also_touched, changes.gold)
    if model.counts_duplicates:
        found = changes.silver.duplicates(model.silver, changes.before)
        days = sorted({each.hour.date() for each in found})
        cursor.execute("insert into touched select null, null, unnest(?::date[])", [days])
    return cursor.execute("select 1 from touched limit 1").fetchone() is not None


def _also_touch(cursor: duckdb.DuckDBPyConnection, query: str, tables: Mapping[str, str]) -> None:
    steps = ", ".join(f"{identifier(name)} as (from {source})" for name, source in tables.items())
    cursor.execute(f"insert into touched with {steps} select request_id, event_date, null from ({query})")


def _union(tables: Sequence[str]) -> str:
    arms = ["select cast(null as varchar) as request_id, cast(null as date) as event_date, cast(null as date) as received_date where false"]
    return " union all by name ".join([*arms, *(f"from {table}" for table in tables)])
