"""Plans the models of a build, and shows DuckDB what they read, what stands and what was made.

A plan is made just before a model runs: against the silver versions that the build is pinned to, and what the model's newest commit includes. It comes from
the model's scope (:mod:`mg_lakehouse.gold.scopes`): views of its inputs (``scoped_<input>``) that show the rows of the affected keys only, or all of them in
a full build; the model's SQL is the same for both. Keys come from the change feed between two versions, never from event times.
What a build knows of the lake belongs in :mod:`mg_lakehouse.gold.facts`, how keys are found and cut in :mod:`mg_lakehouse.gold.keys`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
from deltalake import DeltaTable, Transaction

from mg_lakehouse.gold.commit import GoldTable
from mg_lakehouse.gold.contract import GOLD_SCHEMA, TESTED_SCHEMA
from mg_lakehouse.gold.exports import Exports, marked_exports, next_exports
from mg_lakehouse.gold.facts import Facts
from mg_lakehouse.gold.history import of_silver
from mg_lakehouse.gold.keys import KeysOfBuild
from mg_lakehouse.gold.model import Model, Plan
from mg_lakehouse.gold.scopes import Ground, Views, Write, scopes_of
from mg_lakehouse.lake.lake import Lake

__all__ = ["Planner"]


class Planner:
    """The plans of one build. Safe to use from several threads; ``cursor`` gives the thread's cursor, with variables set.

    A table is opened once: silver stays at the version that it has then, gold moves on with the commits of this build and no others.
    ``part_rows`` are the rows of a model's inputs that it is built from at a time; ``build_id`` is unique to this build. ``folder`` is where
    copies of rows are kept while it lasts, ``definitions`` are those of its gold tables.
    """

    def __init__(
        self,
        lake: Lake,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        *,
        part_rows: int,
        build_id: str,
        folder: Path,
        definitions: Mapping[str, int],
    ) -> None:
        self._cursor = cursor
        self._lock = threading.RLock()
        self._facts = Facts(lake, cursor, chunk_rows=part_rows, folder=folder, definitions=definitions)
        self._views = Views(cursor)
        self._scopes = scopes_of(Ground(cursor, self._facts, KeysOfBuild(cursor), self._views, part_rows, build_id))

    @property
    def table_ids(self) -> dict[str, str | None]:
        """Id of every table that a model can include: of silver, ``None`` for those that do not exist, and of gold for models of changes."""
        return self._facts.table_ids

    def table(self, name: str) -> DeltaTable | None:
        """A gold table as this build met it or left it, ``None`` where it does not exist."""
        with self._lock:
            return self._facts.gold_handle(name)

    def open_all(self, names: Sequence[str]) -> None:
        """Open the gold tables that exist, side by side."""
        self._facts.open_gold(names)

    def plan(self, model: Model) -> Plan:
        """Decide what to do with a model and make its views, of the first chunk where it is built in chunks.

        Raises:
            PermanentError: an input was never built, or access is refused.
            TransientError: the store did not answer.
        """
        with self._lock:
            self._facts.note_model(model)
            return self._scopes[model.scope].plan(model)

    def is_redefined(self, model: Model) -> bool:
        """Whether a model's table stands, and was made by another definition."""
        with self._lock:
            state = self._facts.was_read(model.name)  # its plan has read it, if it is there
            return state is not None and state.handle.version() > 0 and state.definition != model.definition

    def show_chunk(self, plan: Plan, number: int) -> None:
        """Have the views of a model that is built in chunks show another one, counted from 0."""
        with self._lock:
            self._scopes[plan.model.scope].show_chunk(plan, number)

    def writes(self, plan: Plan, staged: str) -> list[Write]:
        """What is committed of the rows in the DuckDB table ``staged``, one commit after the other. Only the last includes what the plan includes."""
        with self._lock:
            return self._scopes[plan.model.scope].writes(plan, staged)

    def export_marks(self, plan: Plan, staged: str) -> list[Transaction]:
        """What the commit of a table that is exported says of its exports, as app transactions."""
        if plan.model.exported_by is None:
            return []
        with self._lock:
            handle = plan.handle
            known = f"{staged} limit 0" if handle is None else self._facts.source(handle)
            included = of_silver(plan.included)
            current = included == self._facts.silver.included(list(included))
            return next_exports(
                self._cursor(),
                plan.model,
                before=Exports() if handle is None else marked_exports(handle),
                known=f"(select * from {known})",
                staged=staged,
                newest_received_at=self._facts.silver.newest_received_at(list(included)) if current else None,
            ).transactions()

    def show_whole(self, name: str) -> None:
        """Show the tests all of a table that this build does not make, where it exists."""
        with self._lock:
            if (handle := self._facts.gold_handle(name)) is not None:
                for schema in (GOLD_SCHEMA, TESTED_SCHEMA):
                    self._views.show(schema, name, f"from {self._facts.source(handle)}")

    def show(self, plan: Plan, committed: DeltaTable | None = None) -> None:
        """Point the model's views at its newest version: ``gold.<model>`` at all rows, ``tested.<model>`` at what this build made."""
        if committed is not None:
            self._facts.look_at(committed)  # others plan while the store answers
        with self._lock:
            name = plan.model.name
            if committed is not None:
                self._facts.move_on(name, GoldTable(committed, plan.model.definition, plan.included))
            handle = self._facts.gold_handle(name)
            assert handle is not None  # what is unchanged or committed is there
            everything = f"from {self._facts.source(handle)}"
            self._views.show(GOLD_SCHEMA, name, everything)
            made = {"full": everything, "unchanged": f"{everything} where false"}
            self._views.show(TESTED_SCHEMA, name, made.get(plan.mode) or self._scopes[plan.model.scope].made(plan, handle))

    def keep(self, plan: Plan, source: str, rows: int) -> bool:
        """Keep rows that were made and committed, a DuckDB table, for the models that follow. Returns whether there is room for them."""
        with self._lock:
            is_of_keys = plan.mode == "full" or plan.keys is not None
            return is_of_keys and self._facts.keep(plan.model.name, source, rows, plan.keys)
