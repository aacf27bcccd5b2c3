"""Tables that only grow: new silver rows add what the table lacks.

A refresh costs the new rows and one read of the table, however many events are behind it. If silver lost rows since, what they added cannot be
taken back: the table is rebuilt.
"""

from __future__ import annotations

from deltalake import DeltaTable
from typing_extensions import override

from mg_lakehouse._util.side_by_side import side_by_side
from mg_lakehouse.gold.changes import empty_rows
from mg_lakehouse.gold.commit import GoldTable
from mg_lakehouse.gold.contract import KNOWN_ROWS
from mg_lakehouse.gold.model import Model, Plan
from mg_lakehouse.gold.scopes.ground import Scope, Write, is_followed
from mg_lakehouse.lake.snapshot import no_rows
from mg_lakehouse.lake.sql import identifier

__all__ = ["Additions"]


class Additions(Scope):
    """Nothing is replaced but the rows with the build's ``replaced_by`` where a known key comes again. The model's SQL reads the new rows, and its own as ``known``."""

    @override
    def plan(self, model: Model) -> Plan:
        self._views.schema(model.schema)
        state = self._facts.made(model.name)
        included = self._facts.silver.included(model.silver)
        full = Plan(model, "full", None if state is None else state.handle, included, schema=model.schema)
        came = None if state is None else self._came(model, state)
        if state is None or came is None:
            self._show(full, {name: self._facts.silver.source(name) for name in model.silver}, None)
            return full
        if not any(came.values()):
            # Without a commit what came is read from the same old version again: that is cheap, for it was nothing.
            return Plan(model, "unchanged", state.handle, state.silver, schema=model.schema)
        self._show(full, {name: f"from {came[name]}" if came.get(name) else "" for name in model.silver}, state)
        return Plan(model, "incremental", state.handle, included, schema=model.schema)

    @override
    def made(self, plan: Plan, handle: DeltaTable) -> str:
        return f"from {plan.schema}.made"

    @override
    def writes(self, plan: Plan, staged: str) -> list[Write]:
        if plan.mode != "incremental":
            return super().writes(plan, staged)
        # Kept for the tests: once committed they cannot be told from the others.
        self._cursor().execute(f"create or replace table {plan.schema}.made as from {staged}")
        predicate = self._replaced(plan, staged)
        return [Write(staged, predicate, plan.included, only_adds=predicate is None)]

    def _replaced(self, plan: Plan, staged: str) -> str | None:
        """SQL of the rows of the table that the staged ones take the place of; ``None`` where they are only added."""
        model = plan.model
        assert model.replaced_by is not None
        same = " and ".join(f"staged.{identifier(key)} is not distinct from known.{identifier(key)}" for key in model.keys)
        cursor = self._cursor()
        known = cursor.execute(
            f"select 1 from {staged} as staged semi join {plan.schema}.{KNOWN_ROWS} as known on {same} limit 1"
        ).fetchone()
        if known is None:
            return None
        buckets = cursor.execute(f"select distinct {identifier(model.replaced_by)} from {staged} order by 1").fetchall()
        return f"{model.replaced_by} IN ({', '.join(str(bucket) for (bucket,) in buckets)})"

    def _came(self, model: Model, state: GoldTable) -> dict[str, str] | None:
        """By silver table that got rows, the DuckDB table of them; ``None`` where not all changes are rows that came."""
        now = self._facts.silver.included(model.silver)
        if not is_followed(model, state, now):
            return None
        moved = {name: f"{model.schema}.{identifier(f'came_{name}')}" for name, before in state.silver.items() if before != now[name]}
        arrived = side_by_side(
            lambda name: self._facts.silver.arrived(name, state.silver[name], now[name], model.reads, moved[name]), moved
        )
        if not all(arrived):
            return None
        return {name: table for name, table in moved.items() if self._cursor().execute(f"from {table} limit 1").fetchone() is not None}

    def _show(self, plan: Plan, sources: dict[str, str], state: GoldTable | None) -> None:
        for name, source in sources.items():
            self._views.show_input(plan, name, f"{empty_rows(name)} union all by name {source}" if source else empty_rows(name))
        known = no_rows(plan.model.spec.schema) if state is None else f"from {self._facts.source(state.handle)}"
        self._views.show(plan.schema, KNOWN_ROWS, known)
