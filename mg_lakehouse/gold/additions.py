"""Append-only gold tables: new silver rows add what the table lacks.

A refresh costs the new rows and one read of the table, however many events are behind it. If silver lost rows since, what they added cannot be
taken back: the table is rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import polars as pl

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.changes import SilverTables, empty_rows
from mg_lakehouse.gold.commit import GoldTable
from mg_lakehouse.gold.contract import KNOWN_ROWS, scoped_view
from mg_lakehouse.gold.model import Model, Plan
from mg_lakehouse.lake.snapshot import scan
from mg_lakehouse.lake.sql import identifier

__all__ = ["Additions"]


class Additions:
    """The models of a build that only grow. ``cursor`` makes a cursor of its database."""

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection], silver: SilverTables) -> None:
        self._cursor = cursor
        self._silver = silver

    def plan(self, model: Model, state: GoldTable | None) -> Plan:
        """Decide what to do with a model, and make its views: ``scoped_<silver table>`` of the rows to look at, ``known`` of its own.

        Raises:
            PermanentError, TransientError: silver cannot be read.
        """
        cursor = self._cursor()
        cursor.execute(f"create schema if not exists {model.schema}")
        included = self._silver.included(model.silver)
        came = None if state is None else self._came(model, state)
        if state is None or came is None:
            sources = {name: self._silver.source(name) for name in model.silver}
            self._show(model, sources, None)
            return Plan(model, "full", None if state is None else state.handle, included, schema=model.schema)
        if not any(came.values()):
            # Without a commit what came is read from the same old version again: that is cheap, for it was nothing.
            recorded = any(state.silver[name] != now for name, now in included.items())
            return Plan(model, "unchanged", state.handle, state.silver if recorded else included)
        self._show(model, {name: f"from {came[name]}" if came.get(name) else "" for name in model.silver}, state)
        return Plan(model, "incremental", state.handle, included, schema=model.schema)

    def keep_made(self, plan: Plan, staged: str) -> None:
        """Keep the rows that a build made, for its tests: once committed they cannot be told from the others."""
        self._cursor().execute(f"create or replace table {plan.model.schema}.made as from {staged}")

    def replaced(self, plan: Plan, staged: str) -> str | None:
        """SQL of the rows of the table that the staged ones take the place of; ``None`` where they are only added."""
        model = plan.model
        assert model.replaced_by is not None
        same = " and ".join(f"staged.{identifier(key)} is not distinct from known.{identifier(key)}" for key in model.keys)
        cursor = self._cursor()
        known = cursor.execute(
            f"select 1 from {staged} as staged semi join {model.schema}.{KNOWN_ROWS} as known on {same} limit 1"
        ).fetchone()
        if known is None:
            return None
        buckets = cursor.execute(f"select distinct {identifier(model.replaced_by)} from {staged} order by 1").fetchall()
        return f"{model.replaced_by} IN ({', '.join(str(bucket) for (bucket,) in buckets)})"

    def _came(self, model: Model, state: GoldTable) -> dict[str, str] | None:
        """By silver table that got rows, the DuckDB table of them; ``None`` where not all changes are rows that came."""
        now = self._silver.included(model.silver)
        same_columns = gold.same_schema(state.handle, model.spec)
        if model.full_refresh or not same_columns or state.definition != model.definition or set(state.silver) != set(now):
            return None
        came = {}
        for name, before in state.silver.items():
            table = f"{model.schema}.{identifier(f'came_{name}')}"
            if before == now[name]:
                continue
            if not self._silver.arrived(name, before, now[name], model.reads, table):
                return None
            if self._cursor().execute(f"select 1 from {table} limit 1").fetchone() is not None:
                came[name] = table
        return came

    def _show(self, model: Model, sources: dict[str, str], state: GoldTable | None) -> None:
        cursor = self._cursor()
        for name, source in sources.items():
            query = f"{empty_rows(name)} union all by name {source}" if source else empty_rows(name)
            cursor.execute(f"create or replace view {model.schema}.{identifier(scoped_view(name))} as {query}")
        if state is not None:
            cursor.execute(f"create or replace view {model.schema}.{KNOWN_ROWS} as from {scan(state.handle)}")
            return
        cursor.register("nothing", pl.DataFrame(schema=model.spec.schema).to_arrow(compat_level=pl.CompatLevel.oldest()))
        cursor.execute(f"create or replace table {model.schema}.{KNOWN_ROWS} as from nothing")
