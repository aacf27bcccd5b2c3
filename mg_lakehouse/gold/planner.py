"""Decides which rows a gold model looks at in a build, and which of its own rows it replaces.

A plan is made just before a model runs: against the silver versions that the build is pinned to, and what the model's newest commit includes. The result
is a DuckDB schema of views named after the model's inputs (``scoped_<input>``) that show the rows of the affected keys only, or all of them in a full
build; the model's SQL is the same for both. Keys come from the change feed between two versions, never from event times.
What a build knows of the lake belongs in :mod:`mg_lakehouse.gold.facts`, how keys are found and cut in :mod:`mg_lakehouse.gold.keys`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
from deltalake import DeltaTable, Transaction

from mg_lakehouse._util.dates import shifted
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.additions import Additions
from mg_lakehouse.gold.changes import empty_rows
from mg_lakehouse.gold.commit import GoldTable, Watermark
from mg_lakehouse.gold.contract import DAYS, GOLD_SCHEMA, OWN_ROWS, TESTED_SCHEMA, changed_view, scoped_view
from mg_lakehouse.gold.differences import differences
from mg_lakehouse.gold.exports import Exports, marked_exports, next_exports
from mg_lakehouse.gold.facts import Facts, Table, date_of
from mg_lakehouse.gold.history import changed_rows, changes_of_gold, ids_of_gold, of_silver, versions_of_gold
from mg_lakehouse.gold.job_files import read_files
from mg_lakehouse.gold.keys import KeysOfBuild, chunk_keys, count_rows, cut, days_of
from mg_lakehouse.gold.model import Keys, Model, Plan
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import date_list, date_literal, identifier

__all__ = ["Planner", "Write"]

_ALL: Final = "scope_of_all"
"""Schema of the views of whole inputs."""


class Write(NamedTuple):
    """What a commit writes: rows, as a source of a ``from``, in the place of those that ``predicate`` selects (``None`` for all), or of none.

    ``included`` is what the table includes after it.
    """

    rows: str
    predicate: str | None
    included: Mapping[str, Watermark]
    only_adds: bool = False


@dataclass(slots=True)
class _Chunks:
    """What a model that is built in chunks reads: its inputs, and by input the table of how many rows each key has."""

    inputs: Sequence[Table]
    counted: Mapping[str, str]


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
        self._build_id = build_id
        self._cursor = cursor
        self._chunk_rows = part_rows
        self._lock = threading.RLock()
        self._facts = Facts(lake, cursor, chunk_rows=part_rows, folder=folder, definitions=definitions)
        self._keys = KeysOfBuild(cursor)
        self._additions = Additions(cursor, self._facts.silver)
        self._schemas: set[str] = set()
        self._shown: dict[tuple[str, str], str] = {}
        self._chunks: dict[str, _Chunks] = {}
        self._counted: dict[str, str] = {}

    @property
    def table_ids(self) -> dict[str, str | None]:
        """Id of every table that a model can include: of silver, ``None`` for those that do not exist, and of gold for models of changes."""
        return self._facts.table_ids

    def plan(self, model: Model) -> Plan:
        """Decide what to do with a model and make its views, of the first chunk where it is built in chunks.

        Raises:
            PermanentError: an input was never built, or access is refused.
            TransientError: the store did not answer.
        """
        with self._lock:
            self._facts.note_model(model)
            if model.scope == "changes":
                return self._plan_changes(model)
            if model.scope == "additions":
                return self._additions.plan(model, self._facts.made(model.name))
            inputs = {each.name: self._gold_input(each.name, model) for each in model.gold}
            followed = {name: inputs[name].handle for name in model.touched_by}
            self._facts.note_ids(ids_of_gold(followed))
            silver = [self._facts.silver.included(model.silver), *(of_silver(each.silver) for each in inputs.values())]
            included = gold.combine(silver) | versions_of_gold(followed)
            plan = self._decide(model, included, inputs)
            return plan if plan.mode == "unchanged" else self._show_inputs(plan, inputs)

    def is_redefined(self, model: Model) -> bool:
        """Whether a model's table stands, and was made by another definition."""
        with self._lock:
            state = self._facts.was_read(model.name)  # its plan has read it, if it is there
            return state is not None and state.handle.version() > 0 and state.definition != model.definition

    def writes(self, plan: Plan, staged: str) -> list[Write]:
        """What is committed of the rows in the DuckDB table ``staged``, one commit after the other. Only the last includes what the plan includes."""
        with self._lock:
            if plan.mode == "incremental" and plan.model.scope == "additions":
                self._additions.keep_made(plan, staged)
                predicate = self._additions.replaced(plan, staged)
                return [Write(staged, predicate, plan.included, only_adds=predicate is None)]
            if plan.mode == "incremental" and plan.model.grows and plan.chunks == 1:
                return self._differences(plan, staged)
            return [Write(staged, plan.predicate, plan.included)]

    def _differences(self, plan: Plan, staged: str) -> list[Write]:
        """First the jobs of which a row went, and then what came to the others: delta-rs takes no rows that the predicate of a commit does not select."""
        state = self._facts.was_read(plan.model.name)
        assert state is not None  # an incremental plan has both
        assert plan.keys is not None
        known = self._facts.committed_rows(self._facts.gold_table(plan.model.name, state.handle, plan.model.orphan_day), plan.keys)
        found = differences(self._cursor(), plan.model, known, staged)
        adds = Write(found.new_rows, None, plan.included, only_adds=True)
        predicate = plan.replacing(found.requests, plan.days if found.of_no_job else ())
        return [Write(found.replacing_rows, predicate, state.silver), adds] if predicate else [adds]

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

    def show_chunk(self, plan: Plan, number: int) -> None:
        """Have the views of a model that is built in chunks show another one, counted from 0."""
        with self._lock:
            chunks = self._chunks[plan.model.name]
            keys = chunk_keys(self._cursor(), plan.model, number, chunks=plan.chunks)
            self._facts.count_chunk_days(keys, chunks.counted)
            self._show_rows(plan, chunks.inputs, keys)

    def open_all(self, names: Sequence[str]) -> None:
        """Open the gold tables that exist, side by side."""
        self._facts.open_gold(names)

    def show_whole(self, name: str) -> None:
        """Show the tests all of a table that this build does not make, where it exists."""
        if (handle := self._facts.gold_handle(name)) is not None:
            for schema in (GOLD_SCHEMA, TESTED_SCHEMA):
                self._show(schema, name, f"from {self._facts.source(handle)}")

    def show(self, plan: Plan, committed: DeltaTable | None = None) -> None:
        """Point the model's views at its newest version: ``gold.<model>`` at all rows, ``tested.<model>`` at what this build made."""
        with self._lock:
            name = plan.model.name
            if committed is not None:
                self._facts.move_on(name, GoldTable(committed, plan.model.definition, plan.included))
            handle = self._facts.gold_handle(name)
            assert handle is not None  # what is unchanged or committed is there
            everything = f"from {self._facts.source(handle)}"
            self._show(GOLD_SCHEMA, name, everything)
            self._show(TESTED_SCHEMA, name, everything if plan.mode == "full" else self._made(plan, handle))

    def keep(self, plan: Plan, source: str, rows: int) -> bool:
        """Keep rows that were made and committed, a DuckDB table, for the models that follow. Returns whether there is room for them."""
        with self._lock:
            return plan.model.scope == "requests" and self._facts.keep(plan.model.name, source, rows, plan.keys)

    def _made(self, plan: Plan, handle: DeltaTable) -> str:
        """SQL of the rows of a table that an incremental plan made."""
        if plan.mode == "unchanged":
            return f"from {self._facts.source(handle)} where false"
        if plan.model.scope == "changes":
            return f"from {self._facts.source(handle)} where {plan.predicate}"
        if plan.model.scope == "additions":
            return f"from {plan.model.schema}.made"
        if plan.keys is None:
            return f"from {self._of_days(handle, plan)}"
        return f"from {self._facts.committed_rows(self._facts.gold_table(plan.model.name, handle, plan.model.orphan_day), plan.keys)}"

    def _show(self, schema: str, name: str, query: str) -> None:
        """Make a view, unless it stands."""
        if self._shown.get((schema, name)) == query:
            return
        self._cursor().execute(f"create or replace view {self._existing(schema)}.{identifier(name)} as {query}")
        self._shown[schema, name] = query

    def _existing(self, schema: str) -> str:
        """The schema, which is made if it is not there."""
        if schema not in self._schemas:
            self._cursor().execute(f"create schema if not exists {schema}")
            self._schemas.add(schema)
        return schema

    def _plan_changes(self, model: Model) -> Plan:
        """Show what changed in the gold inputs since the versions that the model's newest commit includes, as ``feed_<input>``."""
        handles = {each.name: self._gold_input(each.name, model).handle for each in model.gold}
        plan = changes_of_gold(self._cursor(), model, self._facts.gold_handle(model.name), handles, build_id=self._build_id)
        self._facts.note_ids(ids_of_gold(handles))
        return plan

    def _gold_input(self, name: str, model: Model) -> GoldTable:
        made = self._facts.made(name)
        if made is None:
            raise PermanentError(f"gold/{model.name} needs gold/{name}, which was never built: build {name} first.")
        return made

    def _decide(self, model: Model, included: dict[str, Watermark], inputs: Mapping[str, GoldTable]) -> Plan:
        state = self._facts.made(model.name)
        full = Plan(model, "full", None if state is None else state.handle, included)
        if state is None or model.full_refresh or not gold.same_schema(state.handle, model.spec):
            return full
        if state.definition != model.definition or set(state.silver) != set(included):
            return full
        feeds = [self._facts.silver.changes(name, state.silver[name], now) for name, now in of_silver(included).items()]
        more = self._also_affected(model, state, inputs)
        if more is None or any(feed is None for feed in feeds):
            return full
        # Without a commit the change feed would be read from the same old version again: that is cheap, for it was empty.
        recorded = any(state.silver[name] != now for name, now in included.items())
        unchanged = Plan(model, "unchanged", state.handle, state.silver if recorded else included)
        named = [feed for feed in feeds if feed]
        if not named and not more:
            return unchanged
        return full if model.scope == "whole" else self._of_keys(model, named, more, inputs, full) or unchanged

    def _of_keys(self, model: Model, feeds: Sequence[str], more: str, inputs: Mapping[str, GoldTable], full: Plan) -> Plan | None:
        """The plan for what changed; ``None`` where it affects no key of the model, ``full`` where some of its days are beyond Python's years."""
        tables = [*feeds, more] if more else feeds
        if model.day_column is not None:
            days, has_others = self._affected_days(model, tables, inputs)
            plan = replace(full, mode="incremental", days=days, schema=model.schema)
            return full if has_others else plan if days else None
        keys = self._keys.of(feeds, more or None, schema=model.schema, with_days=model.orphan_day is not None)
        plan = replace(full, mode="incremental", keys=keys, days=keys.days)
        return full if keys.has_other_days else plan if keys.requests or keys.days else None

    def _also_affected(self, model: Model, state: GoldTable, inputs: Mapping[str, GoldTable]) -> str | None:
        """A DuckDB table of ``request_id, event_date, received_date`` that are affected though no silver row of theirs changed.

        Empty where there are none; ``None`` where it cannot be known.
        """
        queries = []
        if model.also_touched is not None:
            named = {name: self._facts.source(table.handle) for name, table in inputs.items()} | {
                OWN_ROWS: self._facts.source(state.handle)
            }
            for name in model.touched_by:
                changed = f"{self._existing(model.schema)}.{identifier(changed_view(name))}"
                if not changed_rows(self._cursor(), changed, name, inputs[name].handle, state.silver):
                    return None
                named[changed_view(name)] = changed
            steps = ", ".join(f"{identifier(name)} as (from {source})" for name, source in named.items())
            queries.append(f"(with {steps} select request_id, event_date, null::date as received_date from ({model.also_touched}))")
        if model.counts_duplicates and (found := self._facts.silver.duplicates(model.silver, state.silver)):
            days = date_list(sorted({each.hour.date() for each in found}))
            queries.append(f"(select null::varchar as request_id, null::date as event_date, unnest([{days}]) as received_date)")
        if not queries:
            return ""
        table = f"{self._existing(model.schema)}.also_touched"
        cursor = self._cursor()
        cursor.execute(f"create or replace table {table} as from {' union all from '.join(queries)}")
        return table if cursor.execute(f"from {table} limit 1").fetchone() else ""

    def _affected_days(self, model: Model, changed: Sequence[str], inputs: Mapping[str, GoldTable]) -> tuple[list[date], bool]:
        """The days that a model of days replaces, sorted and in its table ``days``, and whether there are others, beyond Python's years."""
        cursor = self._cursor()
        every_change = " union all by name ".join(f"from {table}" for table in changed)
        query = f"select distinct {model.day_column} as event_date from ({every_change}) where {model.day_column} is not null"
        if model.scope == "days":
            # A job's rows can have come from any day that it has rows on now: silver only ever gains rows, and what it lost shows in the change feed.
            keys = self._keys.of(changed, None, schema=model.schema, with_days=False)
            moved = "".join(f" union select event_date from {self._facts.rows(table, keys)}" for table in self._tables_of(model, inputs))
            query = (
                "select distinct cast(day + to_days(cast(later as integer)) as date) as event_date "
                f"from (select event_date as day from ({query}){moved}), range({model.days_after + 1}) as after(later)"
            )
        cursor.execute(f"create or replace table {self._existing(model.schema)}.{DAYS} as {query}")
        return days_of(cursor, f"from {model.schema}.{DAYS} order by 1")

    def _tables_of(self, model: Model, inputs: Mapping[str, GoldTable]) -> list[Table]:
        """The gold inputs that are not seen whole whatever the keys are."""
        return [
            self._facts.gold_table(each.name, inputs[each.name].handle, each.orphan_day)
            for each in model.gold
            if each.name not in model.touched_by
        ]

    def _show_inputs(self, plan: Plan, inputs: Mapping[str, GoldTable]) -> Plan:
        """Make the views of a model that is built, and cut its keys into chunks where they are many."""
        model = plan.model
        tables = self._tables_of(model, inputs)
        own = replace(plan, schema=model.schema)
        if model.scope != "requests":
            self._existing(model.schema)
        for name in model.touched_by:
            self._show(model.schema, scoped_view(name), f"from {self._facts.source(inputs[name].handle)}")
        if model.scope == "days":
            self._show_days(own, tables)
            return own
        if model.scope in ("event_days", "received_days", "whole", "static"):
            self._show_silver(own, tables)
            return own
        tables = [*(table for name in model.silver if (table := self._facts.silver_table(name)) is not None), *tables]
        if sum(self._facts.at_most(table, plan.keys) for table in tables) > self._chunk_rows:
            counted = {table.name: self._count(model, table, plan.keys) for table in tables}
            self._existing(model.schema)
            own = replace(own, chunks=cut(self._cursor(), model, counted, self._chunk_rows))
            if own.chunks > 1:
                self._chunks[model.name] = _Chunks(tables, counted)
                self.show_chunk(own, 0)
                return own
        # Who reads a table of silver and one of gold by one name cannot share the views with others.
        if not model.touched_by and not {each.name for each in model.gold}.intersection(silver_tables()):
            own = replace(plan, schema=_ALL if plan.keys is None else plan.keys.schema)
        self._show_rows(own, tables, plan.keys)
        return own

    def _count(self, model: Model, table: Table, keys: Keys | None) -> str:
        """Name of the DuckDB table of how many rows each key has. Of a whole table it is made once, however many models read it."""
        cursor = self._cursor()
        source = self._facts.rows(table, keys)
        if keys is None and source in self._counted:
            return self._counted[source]
        schema = self._existing("counted" if keys is None else model.schema)
        name = f"{schema}.{identifier(f'{table.name}_{table.handle.version()}_{len(self._counted)}')}"
        count_rows(cursor, name, source, date_of(table.day))
        if keys is None:
            self._counted[source] = name
        return name

    def _show_rows(self, plan: Plan, tables: Sequence[Table], keys: Keys | None) -> None:
        """Views of the rows of some keys in a model's inputs; a table of silver that does not exist has none."""
        shown = {table.name: f"from {self._facts.rows(table, keys)}" for table in tables}
        for name in plan.model.silver:
            shown[name] = f"{empty_rows(name)} union all by name {shown[name]}" if name in shown else empty_rows(name)
        for name, query in shown.items():
            self._show(plan.schema, scoped_view(name), query)

    def _show_days(self, plan: Plan, tables: Sequence[Table]) -> None:
        for table in tables:
            source = self._of_days(table.handle, plan) if plan.mode == "incremental" else self._facts.whole(table)
            self._show(plan.schema, scoped_view(table.name), f"from {source}")
        if plan.mode == "full":
            days = " union ".join(f"select distinct event_date from {self._facts.whole(table)}" for table in tables)
            self._cursor().execute(f"create or replace table {plan.schema}.{DAYS} as {days}")

    def _show_silver(self, plan: Plan, tables: Sequence[Table]) -> None:
        """Views of silver for the scopes that need no jobs: all of it, or what has one of the days."""
        model = plan.model
        shown = {table.name: f"from {self._facts.whole(table)}" for table in tables}
        for name in model.silver:
            source = self._facts.silver.source(name) if plan.mode == "full" else self._silver_of_days(name, plan)
            shown[name] = f"{empty_rows(name)} union all by name {source}"
        for name, query in shown.items():
            self._show(plan.schema, scoped_view(name), query)
        if model.counts_duplicates:
            self._make_duplicates(plan)
            self._show(plan.schema, scoped_view("duplicates"), f"from {plan.schema}.duplicates")

    def _silver_of_days(self, name: str, plan: Plan) -> str:
        """The rows of a silver table with one of the plan's days, out of the files that can have them."""
        table = self._facts.silver_table(name)
        if table is None:
            return empty_rows(name)
        if plan.model.scope == "received_days":  # what the table is partitioned by
            return f"select * from {self._facts.source(table.handle)} where received_date in ({date_list(plan.days)})"
        files = table.files.with_days(plan.days)
        if not files:
            return empty_rows(name)
        return f"select * from {read_files(files)} where event_date in (select event_date from {plan.schema}.{DAYS})"

    def _make_duplicates(self, plan: Plan) -> None:
        """The table ``duplicates`` of the model's schema: what the model's own rows say of them, and what came since.

        A ledger lives as long as its log entry, which is a week. What it said is carried on, even where all else is made anew.
        """
        model, cursor = plan.model, self._cursor()
        state = self._facts.was_read(model.name)
        found = self._facts.silver.duplicates(model.silver, {} if state is None else state.silver)
        cursor.execute(
            f"create or replace table {model.schema}.duplicates (silver_table varchar, received_hour timestamptz, duplicates bigint)"
        )
        if found:
            cursor.executemany(f"insert into {model.schema}.duplicates values (?, ?, ?)", found)
        if state is not None and gold.same_schema(state.handle, model.spec):
            condition = "" if plan.mode == "full" else f" and received_date in ({date_list(plan.days)})"
            cursor.execute(
                f"insert into {model.schema}.duplicates select event_type, received_hour, duplicates from {self._facts.source(state.handle)} "
                f"where duplicates > 0{condition}"
            )

    def _of_days(self, handle: DeltaTable, plan: Plan) -> str:
        """SQL of the rows of a table that a plan of days looks at, as a source of a ``from``."""
        if not plan.days:
            return f"(from {self._facts.source(handle)} where false)"
        first = shifted(plan.days[0], -plan.model.days_before)
        between = f"{date_literal(first)} and {date_literal(plan.days[-1])}"
        return f"(from {self._facts.source(handle)} where {plan.model.day_column} between {between})"
