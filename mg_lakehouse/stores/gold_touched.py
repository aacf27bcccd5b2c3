"""Which keys a change of silver touches: those that the changed rows name, and those that a model says are touched beyond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from mg_lakehouse.stores.duck import Snapshots, identifier
from mg_lakehouse.stores.gold import Included
from mg_lakehouse.stores.gold_changes import SilverTables, empty_rows
from mg_lakehouse.stores.gold_duplicates import duplicates_since
from mg_lakehouse.stores.gold_model import Model

__all__ = ["Changes", "make_touched"]


@dataclass(frozen=True, slots=True)
class Changes:
    """What of silver a model's table includes and what it will; ``gold`` are by name the sources of its gold inputs, and of its ``own`` rows."""

    silver: SilverTables
    snapshots: Snapshots
    before: Mapping[str, Included]
    now: Mapping[str, Included]
    gold: Mapping[str, str]


def make_touched(cursor: duckdb.DuckDBPyConnection, model: Model, changes: Changes, feeds: Sequence[str]) -> bool | None:
    """Make the temporary table ``touched``: ``request_id, event_date, received_date``, each null where nothing is said.

    ``feeds`` are the tables of the changed keys of each silver input. Returns whether anything is touched, ``None`` where it cannot be known.
    """
    cursor.execute(f"create or replace temp table touched as {_union(feeds)}")
    if model.stale_requests is not None:
        _also_touch(cursor, model.stale_requests, changes.gold)
    if model.late_requests is not None and feeds:
        inputs = _changed_inputs(cursor, model, changes)
        if inputs is None:
            return None
        _also_touch(cursor, model.late_requests, inputs)
    if model.counts_duplicates:
        found = duplicates_since(changes.silver.handles(model.silver), changes.before)
        days = sorted({each.hour.date() for each in found})
        cursor.execute("insert into touched select null, null, unnest(?::date[])", [days])
    return cursor.execute("select 1 from touched limit 1").fetchone() is not None


def _also_touch(cursor: duckdb.DuckDBPyConnection, requests: str, tables: Mapping[str, str]) -> None:
    steps = ", ".join(f"{identifier(name)} as (from {source})" for name, source in tables.items())
    cursor.execute(f"insert into touched with {steps} select request_id, null, null from ({requests})")


def _changed_inputs(cursor: duckdb.DuckDBPyConnection, model: Model, changes: Changes) -> dict[str, str] | None:
    """Silver inputs by name, and what changed in each as ``changed_<name>``; sets the variable ``mg_changed_since``."""
    shown = {name: f"({changes.silver.source(name, changes.snapshots)})" for name in model.silver}
    changed: dict[str, str] = {}
    for name in model.silver:
        rows = changes.silver.changed_rows(name, changes.before[name], changes.now[name])
        if rows is None:
            return None
        changed[name] = rows or f"({empty_rows(name)})"
    times = " union all ".join(f"select event_at from {rows}" for rows in changed.values())
    cursor.execute(f"set variable mg_changed_since = (select min(event_at) from ({times}))")
    return shown | {f"changed_{name}": rows for name, rows in changed.items()}


def _union(tables: Sequence[str]) -> str:
    arms = ["select cast(null as varchar) as request_id, cast(null as date) as event_date, cast(null as date) as received_date where false"]
    return " union all by name ".join([*arms, *(f"from {table}" for table in tables)])
