"""Scopes that follow silver: what changed since the model's newest commit says what is made anew."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from deltalake import DeltaTable
from typing_extensions import override

from mg_lakehouse._util.dates import shifted
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.changes import empty_rows
from mg_lakehouse.gold.commit import GoldTable
from mg_lakehouse.gold.contract import DAYS, OWN_ROWS, changed_view
from mg_lakehouse.gold.differences import differences
from mg_lakehouse.gold.facts import Table, date_of
from mg_lakehouse.gold.history import changed_rows, ids_of_gold, of_silver, versions_of_gold
from mg_lakehouse.gold.job_files import read_files
from mg_lakehouse.gold.keys import chunk_keys, count_rows, cut, days_of
from mg_lakehouse.gold.model import Keys, Model, Plan, predicate_of
from mg_lakehouse.gold.scopes.ground import Ground, Scope, Write, is_followed
from mg_lakehouse.lake.sql import date_list, date_literal, identifier

__all__ = ["Days", "Jobs", "SilverDays", "Whole"]

_ALL: Final = "scope_of_all"
"""Schema of the views of whole inputs."""

Inputs = Mapping[str, GoldTable]


class _Change(NamedTuple):
    """What changed since a model's newest commit: the DuckDB tables of the changed keys of silver, and one of keys that are affected besides, or empty.

    ``full`` is the plan to make all rows anew, ``inputs`` are those of gold.
    """

    full: Plan
    feeds: Sequence[str]
    more: str
    inputs: Inputs

    @property
    def tables(self) -> list[str]:
        """All of the tables."""
        return [*self.feeds, *([self.more] if self.more else [])]


class _Refreshed(Scope):
    """What the scopes that follow silver have in common: when nothing changed, when all is made anew, and what changed otherwise."""

    @override
    def plan(self, model: Model) -> Plan:
        inputs = {each.name: self._facts.needed(each.name, model.name) for each in model.gold}
        followed = {name: inputs[name].handle for name in model.touched_by}
        self._facts.note_ids(ids_of_gold(followed))
        silver = [self._facts.silver.included(model.silver), *(of_silver(each.silver) for each in inputs.values())]
        state = self._facts.made(model.name)
        handle = None if state is None else state.handle
        full = Plan(model, "full", handle, gold.combine(silver) | versions_of_gold(followed), schema=model.schema)
        plan = full if state is None else self._changed(full, state, inputs)
        if plan.mode == "unchanged":
            return plan
        for name in model.touched_by:
            self._views.show_input(full, name, f"from {self._facts.source(inputs[name].handle)}")
        return self._shown(plan, self._tables(model, inputs))

    @abstractmethod
    def _refresh(self, change: _Change) -> Plan | None:
        """The plan for what changed; ``None`` where it affects no key of the model."""

    @abstractmethod
    def _shown(self, plan: Plan, tables: Sequence[Table]) -> Plan:
        """The plan after the views of its inputs were made; ``tables`` are those of gold of which the keys say what is seen."""

    def _tables(self, model: Model, inputs: Inputs) -> list[Table]:
        """The gold inputs of which the keys say what is seen: what affects a model besides is seen whole."""
        read = [each for each in model.gold if each.name not in model.touched_by]
        return [self._facts.gold_table(each.name, inputs[each.name].handle, each.orphan_day) for each in read]

    def _changed(self, full: Plan, state: GoldTable, inputs: Inputs) -> Plan:
        model, included = full.model, full.included
        if not is_followed(model, state, included):
            return full
        feeds = [self._facts.silver.changes(name, state.silver[name], now) for name, now in of_silver(included).items()]
        more = self._also_affected(model, state, inputs)
        if more is None or any(feed is None for feed in feeds):
            return full
        # Without a commit the change feed would be read from the same old version again: that is cheap, for it was empty.
        unchanged = replace(full, mode="unchanged", included=state.silver)
        named = [feed for feed in feeds if feed]
        return (self._refresh(_Change(full, named, more, inputs)) if named or more else None) or unchanged

    def _also_affected(self, model: Model, state: GoldTable, inputs: Inputs) -> str | None:
        """A DuckDB table of ``request_id, event_date, received_date`` that are affected though no silver row of theirs changed.

        Empty where there are none; ``None`` where it cannot be known.
        """
        queries = []
        if model.also_touched is not None:
            named = {name: self._facts.source(table.handle) for name, table in inputs.items()} | {
                OWN_ROWS: self._facts.source(state.handle)
            }
            for name in model.touched_by:
                changed = f"{self._views.schema(model.schema)}.{identifier(changed_view(name))}"
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
        table = f"{self._views.schema(model.schema)}.also_touched"
        cursor = self._cursor()
        cursor.execute(f"create or replace table {table} as from {' union all from '.join(queries)}")
        return table if cursor.execute(f"from {table} limit 1").fetchone() else ""


class Jobs(_Refreshed):
    """The rows of affected jobs, and of affected days for what belongs to no job."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._chunked: dict[str, tuple[Sequence[Table], Mapping[str, str]]] = {}
        self._counted: dict[str, str] = {}

    @override
    def made(self, plan: Plan, handle: DeltaTable) -> str:
        assert plan.keys is not None  # an incremental plan has some
        return f"from {self._facts.committed_rows(self._facts.gold_table(plan.model.name, handle, plan.model.orphan_day), plan.keys)}"

    @override
    def writes(self, plan: Plan, staged: str) -> list[Write]:
        if plan.keys is None or not plan.model.grows or plan.chunks > 1:
            return super().writes(plan, staged)
        state = self._facts.needed(plan.model.name, plan.model.name)
        known = self._facts.committed_rows(self._facts.gold_table(plan.model.name, state.handle, plan.model.orphan_day), plan.keys)
        found = differences(self._cursor(), plan.model, known, staged)
        adds = Write(found.new_rows, None, plan.included, only_adds=True)
        # First the jobs of which a row went: delta-rs takes no rows that the predicate of a commit does not select.
        predicate = predicate_of(plan.model, found.requests, plan.days if found.of_no_job else ())
        return [Write(found.replacing_rows, predicate, state.silver), adds] if predicate else [adds]

    @override
    def show_chunk(self, plan: Plan, number: int) -> None:
        tables, counted = self._chunked[plan.model.name]
        keys = chunk_keys(self._cursor(), plan.model, number, chunks=plan.chunks)
        self._facts.count_chunk_days(keys, counted)
        self._show_rows(plan, tables, keys)

    @override
    def _refresh(self, change: _Change) -> Plan | None:
        model = change.full.model
        keys = self._ground.keys.of(change.feeds, change.more or None, schema=model.schema, with_days=model.orphan_day is not None)
        if keys.has_other_days:
            return change.full
        if not keys.requests and not keys.days:
            return None
        return replace(change.full, mode="incremental", keys=keys, days=keys.days, predicate=predicate_of(model, keys.requests, keys.days))

    @override
    def _shown(self, plan: Plan, tables: Sequence[Table]) -> Plan:
        model = plan.model
        tables = [*(table for name in model.silver if (table := self._facts.silver_table(name)) is not None), *tables]
        if sum(self._facts.at_most(table, plan.keys) for table in tables) > self._ground.chunk_rows:
            counted = {table.name: self._count(model, table, plan.keys) for table in tables}
            self._views.schema(model.chunk_schema)
            plan = replace(plan, chunks=cut(self._cursor(), model, counted, self._ground.chunk_rows))
            if plan.chunks > 1:
                self._chunked[model.name] = (tables, counted)
                self.show_chunk(plan, 0)
                return plan
        # Who reads a table of silver and one of gold by one name cannot share the views with others, nor who sees an input whole.
        if not model.touched_by and not {each.name for each in model.gold}.intersection(silver_tables()):
            plan = replace(plan, schema=_ALL if plan.keys is None else plan.keys.schema)
        self._show_rows(plan, tables, plan.keys)
        return plan

    def _show_rows(self, plan: Plan, tables: Sequence[Table], keys: Keys | None) -> None:
        """Views of the rows of some keys; a table of silver that does not exist has none."""
        shown = {table.name: f"from {self._facts.rows(table, keys)}" for table in tables}
        for name in plan.model.silver:
            shown[name] = f"{empty_rows(name)} union all by name {shown[name]}" if name in shown else empty_rows(name)
        self._views.schema(plan.schema)
        for name, query in shown.items():
            self._views.show_input(plan, name, query)

    def _count(self, model: Model, table: Table, keys: Keys | None) -> str:
        """Name of the DuckDB table of how many rows each key has. Of a whole table it is made once, however many models read it."""
        source = self._facts.rows(table, keys)
        if keys is None and source in self._counted:
            return self._counted[source]
        schema = self._views.schema("counted" if keys is None else model.schema)
        name = f"{schema}.{identifier(f'{table.name}_{table.handle.version()}_{len(self._counted)}')}"
        count_rows(self._cursor(), name, source, date_of(table.day))
        if keys is None:
            self._counted[source] = name
        return name


class _OfDays(_Refreshed):
    """Rows of days: those of affected days are replaced."""

    column: str

    def _affected(self, change: _Change) -> str:
        """A query of the ``event_date`` of the days that changed keys affect."""
        every_key = " union all by name ".join(f"from {table}" for table in change.tables)
        return f"select distinct {self.column} as event_date from ({every_key}) where {self.column} is not null"

    @override
    def _refresh(self, change: _Change) -> Plan | None:
        table = f"{self._views.schema(change.full.schema)}.{DAYS}"
        cursor = self._cursor()
        cursor.execute(f"create or replace table {table} as {self._affected(change)}")
        days, has_others = days_of(cursor, f"from {table} order by 1")
        if has_others:
            return change.full
        return replace(change.full, mode="incremental", days=days, predicate=f"{self.column} IN ({date_list(days)})") if days else None

    @override
    def made(self, plan: Plan, handle: DeltaTable) -> str:
        return f"from {self._between(handle, plan)}"

    def _between(self, handle: DeltaTable, plan: Plan) -> str:
        """SQL of the rows of a table that a plan looks at, as a source of a ``from``."""
        first = shifted(plan.days[0], -plan.model.days_before)
        between = f"{date_literal(first)} and {date_literal(plan.days[-1])}"
        return f"(from {self._facts.source(handle)} where {self.column} between {between})"


class Days(_OfDays):
    """Days of gold inputs, each affecting the ``days_after`` that follow and looking at the ``days_before``."""

    column = "event_date"

    @override
    def _affected(self, change: _Change) -> str:
        # A job's rows can have come from any day that it has rows on now: silver only ever gains rows, and what it lost shows in the change feed.
        model = change.full.model
        keys = self._ground.keys.of(change.tables, None, schema=model.schema, with_days=False)
        moved = "".join(f" union select event_date from {self._facts.rows(table, keys)}" for table in self._tables(model, change.inputs))
        return (
            "select distinct cast(day + to_days(cast(later as integer)) as date) as event_date "
            f"from (select event_date as day from ({super()._affected(change)}){moved}), range({model.days_after + 1}) as after(later)"
        )

    @override
    def _shown(self, plan: Plan, tables: Sequence[Table]) -> Plan:
        for table in tables:
            source = self._between(table.handle, plan) if plan.mode == "incremental" else self._facts.whole(table)
            self._views.show_input(plan, table.name, f"from {source}")
        if plan.mode == "full":
            days = " union ".join(f"select distinct event_date from {self._facts.whole(table)}" for table in tables)
            self._cursor().execute(f"create or replace table {plan.schema}.{DAYS} as {days}")
        return plan


class SilverDays(_OfDays):
    """Days of the events (``event_date``), or of the receipt (``received_date``), of the silver rows that changed. Gold inputs are seen whole."""

    def __init__(self, ground: Ground, column: str) -> None:
        super().__init__(ground)
        self.column = column

    @override
    def _shown(self, plan: Plan, tables: Sequence[Table]) -> Plan:
        for table in tables:
            self._views.show_input(plan, table.name, f"from {self._facts.whole(table)}")
        for name in plan.model.silver:
            source = self._facts.silver.source(name) if plan.mode == "full" else self._of_days(name, plan)
            self._views.show_input(plan, name, f"{empty_rows(name)} union all by name {source}")
        if plan.model.counts_duplicates:
            self._make_duplicates(plan)
            self._views.show_input(plan, "duplicates", f"from {plan.schema}.duplicates")
        return plan

    def _of_days(self, name: str, plan: Plan) -> str:
        """The rows of a silver table with one of the plan's days, out of the files that can have them."""
        table = self._facts.silver_table(name)
        if table is None:
            return empty_rows(name)
        if self.column == "received_date":  # what the table is partitioned by
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
        table = f"{self._views.schema(plan.schema)}.duplicates"
        cursor.execute(f"create or replace table {table} (silver_table varchar, received_hour timestamptz, duplicates bigint)")
        if found:
            cursor.executemany(f"insert into {table} values (?, ?, ?)", found)
        if state is not None and gold.same_schema(state.handle, model.spec):
            condition = "" if plan.mode == "full" else f" and received_date in ({date_list(plan.days)})"
            cursor.execute(
                f"insert into {table} select event_type, received_hour, duplicates from {self._facts.source(state.handle)} "
                f"where duplicates > 0{condition}"
            )


class Whole(_Refreshed):
    """All rows, whenever an input or the definition changed."""

    @override
    def made(self, plan: Plan, handle: DeltaTable) -> str:
        raise AssertionError(f"{plan.model.name} is made whole or not at all")

    @override
    def _refresh(self, change: _Change) -> Plan | None:
        return change.full

    @override
    def _shown(self, plan: Plan, tables: Sequence[Table]) -> Plan:
        self._views.schema(plan.schema)
        for table in tables:
            self._views.show_input(plan, table.name, f"from {self._facts.whole(table)}")
        for name in plan.model.silver:
            self._views.show_input(plan, name, f"{empty_rows(name)} union all by name {self._facts.silver.source(name)}")
        return plan
