"""What a gold model is, and what a build does with it: the plan, the rows that its commit replaces, the keys that it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal

from deltalake import DeltaTable

from mg_lakehouse._util.dates import span_of_day
from mg_lakehouse.gold.commit import Watermark
from mg_lakehouse.gold.contract import DAYS, REQUESTS, Scope, scope_schema
from mg_lakehouse.lake.sql import date_list, identifier, replace_predicate, text
from mg_lakehouse.lake.tables import TableSpec

__all__ = ["Input", "Keys", "Mode", "Model", "Plan", "predicate_of"]

Mode = Literal["full", "incremental", "unchanged"]


@dataclass(frozen=True, slots=True)
class Input:
    """A gold table that a model reads. ``orphan_day`` is its column that says which UTC day a row is of, a date or a time, where it has one."""

    name: str
    orphan_day: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A gold model as the dbt project declares it.

    ``scope`` is what the model is kept up to date by:

    - ``requests``: the rows of touched jobs, and of touched days for what belongs to no job.
    - ``days``: the rows of touched days of gold inputs, each touching the ``days_after`` that follow and looking at the ``days_before``.
    - ``event_days``, ``received_days``: the days of the events, or of the receipt, of the silver rows that changed. Gold inputs are seen whole.
    - ``whole``: all rows, whenever any input changed.
    - ``additions``: new silver rows add the table rows that are missing. Only the columns in ``reads`` are read. If a row of the same ``keys``
      comes again, all rows with the build's ``replaced_by`` are replaced. If silver lost a row, the table is rebuilt.
    - ``changes``: nothing is replaced; what the gold inputs' own change feeds say since the last build is looked at, and rows are added.
    - ``static``: no events at all.

    ``also_touched`` is a query of ``request_id, event_date``: of jobs, and of days of what belongs to no job, whose rows became untrue though no silver row
    of theirs changed. It may read ``own`` and the gold inputs by name. ``touched_by`` are gold inputs that are seen whole; the query finds what changed
    in one since the model's newest commit as ``changed_<input>``.
    ``exported_by`` is the time column that an incremental export filters on: a commit notes a row whose time such an export
    had passed already (:mod:`mg_lakehouse.gold.exports`).
    ``grows`` says that the rows of a job mostly stay as they are when others come: those that differ, by ``keys``, are written, and no others
    (:mod:`mg_lakehouse.gold.differences`).
    ``counts_duplicates`` gives the model ``scoped_duplicates``: what the ledgers of silver say was dropped.
    """

    spec: TableSpec
    scope: Scope
    silver: tuple[str, ...] = ()
    gold: tuple[Input, ...] = ()
    orphan_day: str | None = None
    days_after: int = 0
    days_before: int = 0
    also_touched: str | None = None
    touched_by: tuple[str, ...] = ()
    grows: bool = False
    counts_duplicates: bool = False
    reads: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    replaced_by: str | None = None
    exported_by: str | None = None
    definition: int = 0
    full_refresh: bool = False

    @property
    def name(self) -> str:
        """The table's name."""
        return self.spec.name

    @property
    def schema(self) -> str:
        """The DuckDB schema of the model's views, quoted."""
        return identifier(scope_schema(self.name))

    @property
    def chunk_schema(self) -> str:
        """The DuckDB schema of how the model's keys are cut, and of the keys of the chunk at hand, quoted: those of all chunks stand in another."""
        return identifier(f"{scope_schema(self.name)}_chunk")


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """Some jobs, and some days for what belongs to no job, both sorted. They stand in the DuckDB tables ``requests`` and ``days`` of ``schema`` too.

    ``change`` tells by what change they are affected: of two with one, each has the same jobs, and the same days or none.
    ``has_other_days`` says that there are days beyond Python's years; ``chunks``, where it is not 0, of how many chunks they are one.
    """

    schema: str
    requests: Sequence[str]
    days: Sequence[date]
    change: object = None
    has_other_days: bool = False
    chunks: int = 0

    @property
    def requests_table(self) -> str:
        """The DuckDB table of the jobs."""
        return f"{self.schema}.{REQUESTS}"

    @property
    def days_table(self) -> str:
        """The DuckDB table of the days."""
        return f"{self.schema}.{DAYS}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build does with a model, and what its commit will say.

    ``keys`` are those that an incremental build looks at, ``days`` the sorted days that a model of days replaces. ``schema`` is where its SQL finds its
    inputs, and ``chunks`` how many it is built in. ``predicate`` is SQL of the rows that its commit replaces; ``None`` for all.
    """

    model: Model
    mode: Mode
    handle: DeltaTable | None
    included: Mapping[str, Watermark] = field(default_factory=dict)
    keys: Keys | None = None
    days: Sequence[date] = ()
    schema: str = ""
    chunks: int = 1
    predicate: str | None = None

    @property
    def requests(self) -> Sequence[str]:
        """The jobs that it replaces, sorted."""
        return () if self.keys is None else self.keys.requests


def predicate_of(model: Model, requests: Sequence[str], days: Sequence[date]) -> str:
    """SQL of delta-rs of a model's rows of some jobs, and of what belongs to no job on some days."""
    parts = [replace_predicate("request_id", requests)] if requests else []
    if days and model.orphan_day is not None:
        parts.append(f"(request_id IS NULL AND {_delta_day(model.orphan_day, days)})")
    return " OR ".join(parts)


def _delta_day(column: str, days: Sequence[date]) -> str:
    """SQL of delta-rs for a date column, or the UTC date of a time column, being one of ``days``."""
    if column.endswith("_date"):
        return f"{column} IN ({date_list(days)})"
    bounds = (map(datetime.isoformat, span_of_day(day, UTC)) for day in days)
    spans = (f"({column} >= {text(first)} AND {column} <= {text(last)})" for first, last in bounds)
    return f"({' OR '.join(spans)})"
