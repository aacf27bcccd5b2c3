"""Which rows a gold model looks at in a build, and which of its own rows it replaces.

A plan is made just before a model runs: against the silver versions that the build is pinned to, and what the
model's newest commit includes. The result is a DuckDB schema of views named after the model's inputs
(``scoped_<input>``) that show the rows of the touched keys only, or all of them in a full build; the model's SQL
is the same for both. Keys come from the change feed between two versions, never from event times.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, Literal

import duckdb
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import EVENTS, ColumnType, columns_of
from mg_lakehouse.stores import gold
from mg_lakehouse.stores.duck import Snapshots, identifier, text_list
from mg_lakehouse.stores.gold import ABSENT, GoldTable, Included
from mg_lakehouse.stores.lake import Lake, Layer, TableSpec

__all__ = ["Input", "Model", "Plan", "Scopes"]

Mode = Literal["full", "incremental", "unchanged"]

_SQL_TYPES: Final[dict[ColumnType, str]] = {
    "string": "varchar",
    "int": "bigint",
    "timestamp": "timestamptz",
    "date": "date",
    "bool": "boolean",
    "errors": "struct(error_code varchar, error_message varchar)[]",
}
_LAST: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Input:
    """A gold table that a model reads. ``orphan_day`` is the SQL of the UTC date of its rows that belong to no job."""

    name: str
    orphan_day: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A gold model as the dbt project declares it.

    ``scope`` is what the model is kept up to date by: ``requests`` (the rows of touched jobs, and of touched days for
    what belongs to no job), ``days`` (the rows of touched days, each touching the ``days_after`` that follow and looking
    at the ``days_before``), or ``static`` (no events at all). ``stale_requests`` is a query of jobs whose rows time alone
    made untrue; it may read ``own`` and the inputs by name.
    """

    spec: TableSpec
    scope: Literal["requests", "days", "static"]
    silver: tuple[str, ...] = ()
    gold: tuple[Input, ...] = ()
    orphan_day: str | None = None
    days_after: int = 0
    days_before: int = 0
    stale_requests: str | None = None
    definition: int = 0
    full_refresh: bool = False

    @property
    def name(self) -> str:
        """The table's name."""
        return self.spec.name


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build does with a model, and what its commit will say. ``requests`` and ``days`` are sorted."""

    model: Model
    mode: Mode
    handle: DeltaTable | None
    included: Mapping[str, Included] = field(default_factory=dict)
    requests: Sequence[str] = ()
    days: Sequence[date] = ()

    @property
    def predicate(self) -> str | None:
        """SQL of the rows that the commit replaces; ``None`` for all."""
        if self.mode == "full":
            return None
        if self.model.scope == "days":
            return f"event_date IN ({_delta_dates(self.days)})"
        parts = [gold.replace_predicate("request_id", self.requests)] if self.requests else []
        if self.days and self.model.orphan_day is not None:
            parts.append(f"(request_id IS NULL AND {_delta_day(self.model.orphan_day, self.days)})")
        return " OR ".join(parts)


def _delta_dates(days: Sequence[date]) -> str:
    return ", ".join(f"DATE '{day}'" for day in days)


def _delta_day(column: str, days: Sequence[date]) -> str:
    """SQL of delta-rs for a date column, or the UTC date of a time column, being one of ``days``."""
    if column.endswith("_date"):
        return f"{column} IN ({_delta_dates(days)})"
    spans = (f"({column} >= '{day}T00:00:00Z' AND {column} < '{day + timedelta(days=1)}T00:00:00Z')" for day in days)
    return f"({' OR '.join(spans)})"


def _duck_day(column: str) -> str:
    return column if column.endswith("_date") else f"cast({column} as date)"


class Scopes:
    """The scopes of one build. Safe to use from several threads; ``cursor`` makes a cursor with time zone and variables set.

    A table is opened once: silver stays at the version that it has then, gold moves on with the commits of this build and no others.
    """

    def __init__(self, lake: Lake, cursor: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._lake = lake
        self._cursor = cursor
        self._lock = threading.RLock()
        self._snapshots = Snapshots(cursor)
        self._gold: dict[str, DeltaTable] = {}
        self._made: dict[str, GoldTable] = {}
        self._pins: dict[str, DeltaTable | None] | None = None
        self._touched: dict[tuple[str, int, int], str | None] = {}

    @property
    def silver_ids(self) -> dict[str, str | None]:
        """Id of every silver table, ``None`` for those that do not exist."""
        return {name: None if handle is None else str(handle.metadata().id) for name, handle in self._pinned().items()}

    def plan(self, model: Model) -> Plan:
        """Decide what to do with a model and make its views.

        Raises:
            PermanentError: an input was never built, or access is refused.
            TransientError: the store did not answer.
        """
        with self._lock:
            inputs = {each.name: self._gold_input(each.name, model) for each in model.gold}
            own = self._made_of(model.name)
            included = gold.combine([self._direct(model.silver), *(each.silver for each in inputs.values())])
            plan = self._decide(model, own, included, inputs)
            self._make_views(plan, inputs)
            return plan

    def show_existing(self, names: Sequence[str]) -> None:
        """Show the gold tables that exist, as ``gold.<name>``: a run may select any part of the models."""
        for name, handle in zip(names, self._open_at_once("gold", names), strict=True):
            if handle is not None:
                self._gold[name] = handle
                self._show("gold", name, f"from {self._scan(handle)}")

    def show(self, plan: Plan, committed: DeltaTable | None = None) -> None:
        """Point the model's views at its newest version: ``gold.<model>`` at all rows, ``tested.<model>`` at what this build made."""
        with self._lock:
            name = plan.model.name
            if committed is not None:
                self._gold[name] = committed
                self._made[name] = GoldTable(committed, plan.model.definition, plan.included)
            handle = self._gold[name]
            everything = f"select * from {self._scan(handle)}"
            made = f"select * from {self._arms_of(handle, plan, plan.model.orphan_day)}" if plan.mode == "incremental" else everything
            if plan.mode == "unchanged":
                made += " where false"
            self._show("gold", name, everything)
            self._show("tested", name, made)

    def _show(self, schema: str, name: str, query: str) -> None:
        cursor = self._cursor()
        cursor.execute(f"create schema if not exists {schema}")
        cursor.execute(f"create or replace view {schema}.{identifier(name)} as {query}")

    def _made_of(self, name: str) -> GoldTable | None:
        """A gold table and what it was made of, ``None`` where it does not exist."""
        if name not in self._made:
            handle = self._gold.get(name) or self._lake.open("gold", name)
            if handle is None:
                return None
            self._gold[name] = handle
            self._made[name] = gold.included_in(handle, self.silver_ids, [event.table for event in EVENTS])
        return self._made[name]

    def _open_at_once(self, layer: Layer, names: Sequence[str]) -> list[DeltaTable | None]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda name: self._lake.open(layer, name), names))

    def _scan(self, handle: DeltaTable) -> str:
        return self._snapshots.of(handle)

    def _pinned(self) -> dict[str, DeltaTable | None]:
        with self._lock:
            if self._pins is None:
                names = [event.table for event in EVENTS]
                self._pins = dict(zip(names, self._open_at_once("silver", names), strict=True))
            return self._pins

    def _direct(self, tables: Sequence[str]) -> dict[str, Included]:
        return {
            name: ABSENT if handle is None else Included(gold.digest(str(handle.metadata().id)), handle.version())
            for name, handle in self._pinned().items()
            if name in tables
        }

    def _gold_input(self, name: str, model: Model) -> GoldTable:
        made = self._made_of(name)
        if made is None:
            raise PermanentError(f"gold/{model.name} needs gold/{name}, which was never built: build {name} first.")
        return made

    def _decide(self, model: Model, state: GoldTable | None, included: dict[str, Included], inputs: Mapping[str, GoldTable]) -> Plan:
        own = None if state is None else state.handle
        full = Plan(model, "full", own, included)
        if state is None or own is None or model.full_refresh or not gold.same_schema(own, model.spec):
            return full
        if state.definition != model.definition or set(state.silver) != set(included):
            return full
        feeds = [self._changes(name, state.silver[name], now) for name, now in included.items()]
        if any(feed is None for feed in feeds):
            return full
        cursor = self._cursor()
        schema = identifier(f"scope_{model.name}")
        cursor.execute(f"create or replace temp table touched as {_union([feed for feed in feeds if feed])}")
        if model.stale_requests is not None:
            cursor.execute(f"insert into touched {self._stale(model, own, inputs)}")
        cursor.execute(f"create schema if not exists {schema}")
        cursor.execute(
            f"create or replace table {schema}.requests as select distinct request_id from touched where request_id is not null order by 1"
        )
        cursor.execute(f"create or replace table {schema}.days as {self._days(model, schema, inputs)}")
        requests = [str(row[0]) for row in cursor.execute(f"from {schema}.requests").fetchall()]
        days = [row[0] for row in cursor.execute(f"select event_date from {schema}.days order by 1").fetchall()]
        uses_days = model.scope == "days" or model.orphan_day is not None
        touched = bool(days) if model.scope == "days" else bool(requests or (days and uses_days))
        recorded = any(state.silver[name] != now for name, now in included.items())
        if not touched:
            # Without a commit the change feed would be read from the same old version again: that is cheap, for it was empty.
            return Plan(model, "unchanged", own, state.silver if recorded else included)
        return Plan(model, "incremental", own, included, requests, days if uses_days else ())

    def _days(self, model: Model, schema: str, inputs: Mapping[str, GoldTable]) -> str:
        orphans = "select distinct event_date from touched where request_id is null and event_date is not null"
        if model.scope != "days":
            return orphans
        # A job's rows can have come from any day that it has rows on now: silver only ever gains rows, and what it lost shows in the change feed.
        moved = " union ".join(
            f"select event_date from {self._scan(table.handle)} where request_id in (select request_id from {schema}.requests)"
            for table in inputs.values()
        )
        return (
            "select distinct cast(day + to_days(cast(later as integer)) as date) as event_date from ("
            f"select event_date as day from touched where event_date is not null union {moved}), range({model.days_after + 1}) as after(later)"
        )

    def _stale(self, model: Model, own: DeltaTable, inputs: Mapping[str, GoldTable]) -> str:
        names = {"own": own, **{name: table.handle for name, table in inputs.items()}}
        steps = ", ".join(f"{identifier(name)} as (from {self._scan(handle)})" for name, handle in names.items())
        return f"with {steps} select request_id, null from ({model.stale_requests})"

    def _changes(self, name: str, before: Included, now: Included) -> str | None:
        """Name of the DuckDB table of what changed: ``request_id, event_date``; empty text for nothing, ``None`` where it cannot be known."""
        if before == now:
            return ""
        if before.incarnation not in {now.incarnation, ABSENT.incarnation} or before.version >= now.version:
            return None
        handle = self._pinned()[name]
        if handle is None:
            return None
        key = (name, before.version, now.version)
        if key not in self._touched:
            self._touched[key] = self._read_changes(handle, *key)
        return self._touched[key]

    def _read_changes(self, handle: DeltaTable, name: str, before: int, now: int) -> str | None:
        table = f"touched.{identifier(f'{name}_{before}_{now}')}"
        cursor = self._cursor()
        try:
            feed: Any = handle.load_cdf(starting_version=before + 1, ending_version=now, columns=["request_id", "event_date"])
            cursor.execute("create schema if not exists touched")
            cursor.register("feed", pa.RecordBatchReader.from_stream(feed))
            cursor.execute(f"create or replace table {table} as select distinct request_id, event_date from feed")
        except (DeltaError, OSError, duckdb.Error, pa.ArrowException):
            return None  # the log or a removed file was cleaned up: the model is built anew
        return table

    def _make_views(self, plan: Plan, inputs: Mapping[str, GoldTable]) -> None:
        if plan.mode == "unchanged":
            return
        cursor = self._cursor()
        schema = identifier(f"scope_{plan.model.name}")
        cursor.execute(f"create schema if not exists {schema}")
        for name in plan.model.silver:
            handle = self._pinned()[name]
            rows = "" if handle is None else f" union all by name select * from {self._arms_of(handle, plan, 'event_at')}"
            cursor.execute(f"create or replace view {schema}.{identifier(f'scoped_{name}')} as {_empty(name)}{rows}")
        orphan_days = {each.name: each.orphan_day for each in plan.model.gold}
        for name, table in inputs.items():
            query = f"select * from {self._arms_of(table.handle, plan, orphan_days[name])}"
            cursor.execute(f"create or replace view {schema}.{identifier(f'scoped_{name}')} as {query}")
        if plan.model.scope == "days" and plan.mode == "full":
            days = " union ".join(f"select distinct event_date from {self._scan(table.handle)}" for table in inputs.values())
            cursor.execute(f"create or replace table {schema}.days as {days}")

    def _arms_of(self, handle: DeltaTable, plan: Plan, orphan_day: str | None) -> str:
        """SQL of the rows of a table that a plan looks at, as a source of a ``from``."""
        if plan.mode != "incremental":
            return self._scan(handle)
        schema = identifier(f"scope_{plan.model.name}")
        if plan.model.scope == "days":
            if not plan.days:
                return f"(select * from {self._scan(handle)} where false)"
            first = plan.days[0] - timedelta(days=plan.model.days_before)
            return f"(select * from {self._scan(handle)} where event_date between date '{first}' and date '{plan.days[-1]}')"
        files = _Files(handle)
        arms = [f"select * from {self._scan(handle)} where false"]
        if plan.requests and (names := files.holding(plan.requests)):
            arms.append(f"select * from {_read(names)} where request_id in (select request_id from {schema}.requests)")
        if plan.days and orphan_day is not None and (names := files.with_orphans()):
            arms.append(
                f"select * from {_read(names)} where request_id is null and {_duck_day(orphan_day)} in (select event_date from {schema}.days)"
            )
        return f"({' union all by name '.join(arms)})"


class _Files:
    """The data files of a table and what their statistics say of `request_id`."""

    def __init__(self, handle: DeltaTable) -> None:
        addresses = {uri.rsplit("/", 1)[-1]: uri for uri in handle.file_uris()}
        actions = pl.DataFrame(pa.table(handle.get_add_actions(flatten=True)))
        rows = actions.select(
            "path",
            *(
                pl.col(name) if name in actions.columns else pl.lit(None).alias(name)
                for name in ("min.request_id", "max.request_id", "null_count.request_id")
            ),
        )
        self._rows = [(addresses[path.rsplit("/", 1)[-1]], low, high, nulls) for path, low, high, nulls in rows.iter_rows()]

    def holding(self, ordered: Sequence[str]) -> list[str]:
        """Addresses of the files that can hold one of the sorted keys."""
        return [
            uri
            for uri, low, high, nulls in self._rows
            if (low is None and nulls is None)
            # A long maximum is cut short, so anything that begins with it can be in the file.
            or (low is not None and bisect_left(ordered, low) < bisect_right(ordered, high + _LAST))
        ]

    def with_orphans(self) -> list[str]:
        """Addresses of the files that can hold rows without a `request_id`."""
        return [uri for uri, _, _, nulls in self._rows if nulls is None or nulls > 0]


def _read(files: Sequence[str]) -> str:
    return f"read_parquet({text_list(files)}, union_by_name = true, hive_partitioning = false)"


def _union(tables: Sequence[str]) -> str:
    arms = ["select cast(null as varchar) as request_id, cast(null as date) as event_date where false"]
    return " union all ".join([*arms, *(f"from {table}" for table in tables)])


def _empty(table: str) -> str:
    columns = ", ".join(f"cast(null as {_SQL_TYPES[column.type]}) as {identifier(column.name)}" for column in columns_of(table))
    return f"select {columns} where false"
