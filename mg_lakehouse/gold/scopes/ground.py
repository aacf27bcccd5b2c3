"""What the scopes of gold stand on: the facts of a build, its views, and what a scope answers.

A scope says how its models are kept up to date: which keys a change makes untrue, which rows the model's SQL sees, and which of the table's rows a commit
replaces. Each is one class. What is true of all models belongs in :mod:`mg_lakehouse.gold.planner`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import duckdb
from deltalake import DeltaTable

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.commit import GoldTable, Watermark
from mg_lakehouse.gold.contract import scoped_view
from mg_lakehouse.gold.facts import Facts
from mg_lakehouse.gold.keys import KeysOfBuild
from mg_lakehouse.gold.model import Model, Plan
from mg_lakehouse.lake.sql import identifier

__all__ = ["Ground", "Scope", "Views", "Write", "is_followed"]


def is_followed(model: Model, state: GoldTable, included: Mapping[str, Watermark]) -> bool:
    """Whether a model's table is of the model as it stands, and of the same silver tables, so that what changed since can be told."""
    is_as_defined = state.definition == model.definition and gold.same_schema(state.handle, model.spec)
    return is_as_defined and not model.full_refresh and set(state.silver) == set(included)


class Write(NamedTuple):
    """What a commit writes: rows, as a source of a ``from``, in the place of those that ``predicate`` selects (``None`` for all), or of none.

    ``included`` is what the table includes after it.
    """

    rows: str
    predicate: str | None
    included: Mapping[str, Watermark]
    only_adds: bool = False


class Views:
    """The views and schemas of a build, each made once. Not safe to use from several threads at once."""

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._cursor = cursor
        self._schemas: set[str] = set()
        self._shown: dict[tuple[str, str], str] = {}

    def show(self, schema: str, name: str, query: str) -> None:
        """Make a view, unless it stands."""
        if self._shown.get((schema, name)) != query:
            self._cursor().execute(f"create or replace view {self.schema(schema)}.{identifier(name)} as {query}")
            self._shown[schema, name] = query

    def show_input(self, plan: Plan, name: str, query: str) -> None:
        """Make the view of an input that a model's SQL reads."""
        self.show(plan.schema, scoped_view(name), query)

    def schema(self, name: str) -> str:
        """The schema, which is made if it is not there."""
        if name not in self._schemas:
            self._cursor().execute(f"create schema if not exists {name}")
            self._schemas.add(name)
        return name


@dataclass(frozen=True, slots=True)
class Ground:
    """What a build has for all scopes. ``cursor`` gives the thread's cursor; ``chunk_rows`` are the rows of its inputs that a model is built from at a time."""

    cursor: Callable[[], duckdb.DuckDBPyConnection]
    facts: Facts
    keys: KeysOfBuild
    views: Views
    chunk_rows: int
    build_id: str


class Scope(ABC):
    """How models of one scope are kept up to date."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._cursor = ground.cursor
        self._facts = ground.facts
        self._views = ground.views

    @abstractmethod
    def plan(self, model: Model) -> Plan:
        """Decide what to do with a model and make the views that its SQL reads, of the first chunk where it is built in chunks.

        Raises:
            PermanentError: an input was never built, or access is refused.
            TransientError: the store did not answer.
        """

    @abstractmethod
    def made(self, plan: Plan, handle: DeltaTable) -> str:
        """SQL of the rows of the committed table that an incremental plan made."""

    def writes(self, plan: Plan, staged: str) -> list[Write]:
        """What is committed of the rows in the DuckDB table ``staged``, one commit after the other. Only the last includes what the plan includes."""
        return [Write(staged, plan.predicate, plan.included)]

    def show_chunk(self, plan: Plan, number: int) -> None:
        """Have the views of a model that is built in chunks show another one, counted from 0."""
        raise NotImplementedError(f"{plan.model.name} is not built in chunks")
