"""Which rows a gold model looks at in a build, and which of its own rows it replaces.

A plan is made just before a model runs: against the silver versions that the build is pinned to, and what the
model's newest commit includes. The result is a DuckDB schema of views named after the model's inputs
(``scoped_<input>``) that show the rows of the touched keys only, or all of them in a full build; the model's SQL
is the same for both. Keys come from the change feed between two versions, never from event times. Where too many rows are behind
them, the views show one part of the keys after the other (:mod:`mg_lakehouse.gold.chunks`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import duckdb
from deltalake import DeltaTable, Transaction

from mg_lakehouse._util.dates import shifted
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import EVENTS
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.additions import Additions
from mg_lakehouse.gold.affected import Changes, make_affected
from mg_lakehouse.gold.changes import SilverTables, empty_rows
from mg_lakehouse.gold.chunks import PART, chunk_keys, count_rows, cut, days_of
from mg_lakehouse.gold.clustered import ClusteredRows
from mg_lakehouse.gold.commit import GoldTable, Watermark
from mg_lakehouse.gold.contract import DAYS, GOLD_SCHEMA, OWN_ROWS, TESTED_SCHEMA, changed_view, scoped_view
from mg_lakehouse.gold.exports import Exports, marked_exports, next_exports
from mg_lakehouse.gold.history import changed_rows, changes_of_gold, ids_of_gold, of_silver, versions_of_gold
from mg_lakehouse.gold.job_days import DAYS_OF_JOBS, DAYS_OF_MESSAGES, DaysOfJobs, known_days
from mg_lakehouse.gold.job_files import File, Files, JobDays, read_files, rows_of
from mg_lakehouse.gold.model import Keys, Model, Plan
from mg_lakehouse.lake.duck import Snapshots
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import date_list, date_literal, identifier
from mg_lakehouse.location import address_of

__all__ = ["Planner"]


@dataclass(frozen=True, slots=True)
class _Rows:
    """A table that a model reads. ``day`` is its column that says which UTC day a row is of, a date or a time, where it has one."""

    name: str
    handle: DeltaTable
    files: Files
    day: str | None

    def of_jobs(self, keys: Keys) -> list[File]:
        """The files that can hold rows of the jobs."""
        return self.files.holding(keys.requests, keys.job_days.get(self.name)) if keys.requests else []

    def of_days(self, keys: Keys) -> list[File]:
        """The files that can hold what belongs to no job on the days."""
        return self.files.with_orphans(keys.days) if keys.days and self.day is not None else []

    def at_most(self, keys: Keys | None) -> float:
        """How many rows lie in the files looked at; infinite where a file does not say."""
        files = self.files.all() if keys is None else {*self.of_jobs(keys), *self.of_days(keys)}
        return rows_of(files)


@dataclass(slots=True)
class _Reading:
    """What a model reads in this build: all its keys (``None`` for everything), and how many rows each has where they are cut into parts."""

    plan: Plan
    inputs: Sequence[_Rows]
    keys: Keys | None
    counted: Mapping[str, str]


class Planner:
    """The scopes of one build. Safe to use from several threads; ``cursor`` makes a cursor with variables set.

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
        self._lake = lake
        self._build_id = build_id
        self._cursor = cursor
        self._part_rows = part_rows
        self._clustered = ClusteredRows(cursor, run_rows=max(1, part_rows // 4), folder=folder)
        self._definitions = definitions
        self._lock = threading.RLock()
        self._snapshots = Snapshots(cursor)
        self._silver = SilverTables(lake, cursor)
        self._additions = Additions(cursor, self._silver, self._snapshots)
        self._silver_files: dict[str, Files] = {}
        self._gold: dict[str, DeltaTable] = {}
        self._made: dict[str, GoldTable] = {}
        self._readings: dict[str, _Reading] = {}
        self._counted: dict[str, str] = {}
        self._ids: dict[str, str | None] = {}
        self._tables_of_days: dict[str, tuple[GoldTable, Files] | None] = {}
        self._days_of_jobs: dict[str, tuple[Sequence[str], JobDays | None]] = {}

    @property
    def table_ids(self) -> dict[str, str | None]:
        """Id of every table that a model can include: of silver, ``None`` for those that do not exist, and of gold for models of changes."""
        return self._silver.ids | self._ids

    def plan(self, model: Model) -> Plan:
        """Decide what to do with a model and make its views, of the first part where it is built in parts.

        Raises:
            PermanentError: an input was never built, or access is refused.
            TransientError: the store did not answer.
        """
        with self._lock:
            if model.scope == "changes":
                return self._plan_changes(model)
            if model.scope == "additions":
                return self._additions.plan(model, self._made_of(model.name))
            made = {each.name: self._gold_input(each.name, model) for each in model.gold}
            followed = {name: made[name].handle for name in model.touched_by}
            self._ids |= ids_of_gold(followed)
            silver = [self._silver.included(model.silver), *(of_silver(each.silver) for each in made.values())]
            included = gold.combine(silver) | versions_of_gold(followed)
            plan = self._decide(model, self._made_of(model.name), included, made)
            if plan.mode == "unchanged":
                return plan
            return self._prepare(plan, made)

    def is_redefined(self, model: Model) -> bool:
        """Whether a model's table stands, and was made by another definition."""
        with self._lock:
            state = self._made.get(model.name)  # its plan has read it, if it is there
            return state is not None and state.handle.version() > 0 and state.definition != model.definition

    def replaced(self, plan: Plan, staged: str) -> tuple[str | None, bool]:
        """Return the predicate of the table's rows that the rows in the DuckDB table ``staged`` replace, and whether none are replaced.

        A predicate of ``None`` means all rows, unless none are replaced.
        """
        if plan.mode != "incremental" or plan.model.scope != "additions":
            return plan.predicate, False
        with self._lock:
            self._additions.keep_made(plan, staged)
            predicate = self._additions.replaced(plan, staged)
            return predicate, predicate is None

    def export_marks(self, plan: Plan, staged: str) -> list[Transaction]:
        """What the commit of a table that is exported says of its exports, as app transactions."""
        if plan.model.exported_by is None:
            return []
        with self._lock:
            handle = plan.handle
            known = f"{staged} limit 0" if handle is None else self._scan(handle)
            included = of_silver(plan.included)
            current = included == self._silver.included(list(included))
            return next_exports(
                self._cursor(),
                plan.model,
                before=Exports() if handle is None else marked_exports(handle),
                known=f"(select * from {known})",
                staged=staged,
                newest_received_at=self._silver.newest_received_at(list(included)) if current else None,
            ).transactions()

    def show_chunk(self, plan: Plan, part: int) -> None:
        """Have the views of a model that is built in parts show another part, counted from 0."""
        with self._lock:
            reading = self._readings[plan.model.name]
            self._make_views(plan.model, reading.inputs, chunk_keys(self._cursor(), plan.model, reading.counted, part))

    def show_existing(self, names: Sequence[str]) -> None:
        """Show the gold tables that exist, as ``gold.<name>``: a run may select any part of the models."""
        for name, handle in self._lake.open_all("gold", names).items():
            if handle is not None:
                self._gold[name] = handle
                self._show(GOLD_SCHEMA, name, f"from {self._scan(handle)}")

    def show_whole(self, name: str) -> None:
        """Show the tests of a model that this build does not make all of its table, where it exists."""
        if (handle := self._gold.get(name)) is not None:
            self._show(TESTED_SCHEMA, name, f"from {self._scan(handle)}")

    def show(self, plan: Plan, committed: DeltaTable | None = None) -> None:
        """Point the model's views at its newest version: ``gold.<model>`` at all rows, ``tested.<model>`` at what this build made."""
        with self._lock:
            name = plan.model.name
            if committed is not None:
                self._gold[name] = committed
                self._made[name] = GoldTable(committed, plan.model.definition, plan.included)
            handle = self._gold[name]
            everything = f"select * from {self._scan(handle)}"
            made = everything
            if plan.mode == "unchanged":
                made += " where false"
            elif plan.mode == "incremental" and plan.model.scope == "changes":
                made += f" where {plan.predicate}"
            elif plan.mode == "incremental" and plan.model.scope == "additions":
                made = f"from {plan.model.schema}.made"
            elif plan.mode == "incremental" and plan.model.day_column is not None:
                made = f"select * from {self._of_days(handle, plan)}"
            elif plan.mode == "incremental":
                rows = self._gold_rows(name, handle, plan.model.orphan_day)
                made = f"select * from {self._of_keys(rows, plan.model, self._readings[name].keys)}"
            self._show(GOLD_SCHEMA, name, everything)
            self._show(TESTED_SCHEMA, name, made)

    def _show(self, schema: str, name: str, query: str) -> None:
        cursor = self._cursor()
        cursor.execute(f"create schema if not exists {schema}")
        cursor.execute(f"create or replace view {schema}.{identifier(name)} as {query}")

    def _plan_changes(self, model: Model) -> Plan:
        """Show what changed in the gold inputs since the versions that the model's newest commit includes, as ``feed_<input>``."""
        handles = {each.name: self._gold_input(each.name, model).handle for each in model.gold}
        plan = changes_of_gold(self._cursor(), model, self._gold.get(model.name), handles, build_id=self._build_id)
        self._ids |= ids_of_gold(handles)
        return plan

    def _made_of(self, name: str) -> GoldTable | None:
        """A gold table and what it was made of, ``None`` where it does not exist."""
        if name not in self._made:
            handle = self._gold.get(name) or self._lake.open("gold", name)
            if handle is None:
                return None
            self._gold[name] = handle
            self._made[name] = gold.watermarks_of(handle, self.table_ids, list(self.table_ids))
        return self._made[name]

    def _scan(self, handle: DeltaTable) -> str:
        return self._snapshots.source(handle)

    def _gold_input(self, name: str, model: Model) -> GoldTable:
        made = self._made_of(name)
        if made is None:
            raise PermanentError(f"gold/{model.name} needs gold/{name}, which was never built: build {name} first.")
        return made

    def _decide(self, model: Model, state: GoldTable | None, included: dict[str, Watermark], inputs: Mapping[str, GoldTable]) -> Plan:
        own = None if state is None else state.handle
        full = Plan(model, "full", own, included)
        if state is None or own is None or model.full_refresh or not gold.same_schema(own, model.spec):
            return full
        if state.definition != model.definition or set(state.silver) != set(included):
            return full
        feeds = [self._silver.changes(name, state.silver[name], now) for name, now in of_silver(included).items()]
        if any(feed is None for feed in feeds):
            return full
        recorded = any(state.silver[name] != now for name, now in included.items())
        # Without a commit the change feed would be read from the same old version again: that is cheap, for it was empty.
        unchanged = Plan(model, "unchanged", own, state.silver if recorded else included)
        gold_tables = {name: self._scan(table.handle) for name, table in inputs.items()}
        cursor = self._cursor()
        cursor.execute(f"create schema if not exists {model.schema}")
        for name in model.touched_by:
            changed = f"{model.schema}.{identifier(changed_view(name))}"
            if not changed_rows(cursor, changed, name, inputs[name].handle, state.silver):
                return full
            gold_tables[changed_view(name)] = changed
        changes = Changes(self._silver, state.silver, gold_tables | {OWN_ROWS: self._scan(own)})
        if make_affected(cursor, model, changes, [feed for feed in feeds if feed]) and model.scope == "whole":
            return full
        requests, days, others = self._affected_keys(cursor, model, inputs)
        uses_days = model.day_column is not None or model.orphan_day is not None
        affected = bool(days) if model.day_column is not None else bool(requests or (days and uses_days))
        part = Plan(model, "incremental", own, included, requests, days if uses_days else ()) if affected else unchanged
        return full if others else part

    def _affected_keys(
        self, cursor: duckdb.DuckDBPyConnection, model: Model, inputs: Mapping[str, GoldTable]
    ) -> tuple[list[str], list[date], bool]:
        """The touched jobs and days, in order, and whether there are days beyond Python's years; also in the DuckDB tables ``requests`` and ``days`` of the model's schema."""
        schema = model.schema
        cursor.execute(
            f"create or replace table {schema}.requests as select distinct request_id from touched where request_id is not null order by 1"
        )
        requests = [str(row[0]) for row in cursor.execute(f"from {schema}.requests").fetchall()]
        cursor.execute(f"create or replace table {schema}.{DAYS} as {self._days(model, inputs, requests)}")
        return requests, *days_of(cursor, f"from {schema}.{DAYS} order by 1")

    def _days(self, model: Model, inputs: Mapping[str, GoldTable], requests: Sequence[str]) -> str:
        if model.scope in ("event_days", "received_days"):
            return f"select distinct {model.day_column} from touched where {model.day_column} is not null"
        if model.scope != "days":
            return "select distinct event_date from touched where request_id is null and event_date is not null"
        # A job's rows can have come from any day that it has rows on now: silver only ever gains rows, and what it lost shows in the change feed.
        keys = Keys("", requests, (), self._job_days(model, requests))
        rows = self._inputs_by_keys(model, inputs)
        moved = " union ".join(f"select event_date from {self._of_keys(each, model, keys)}" for each in rows)
        return (
            "select distinct cast(day + to_days(cast(later as integer)) as date) as event_date from ("
            f"select event_date as day from touched where event_date is not null union {moved}), range({model.days_after + 1}) as after(later)"
        )

    def _job_days(self, model: Model, requests: Sequence[str]) -> dict[str, JobDays]:
        """By table, the days on which jobs have rows: of silver and gold tables of messages, and of what else names a job."""
        found: dict[str, JobDays] = {}
        of_no_message = {event.table for event in EVENTS if event.channel is None}
        names = {*model.silver, *(each.name for each in model.gold if each.orphan_day is not None), model.name} - {*model.touched_by}
        of_messages = names - of_no_message - ({model.name} if of_no_message.intersection(model.silver) else set())
        for known, tables in ((DAYS_OF_MESSAGES, of_messages), (DAYS_OF_JOBS, names - of_messages)):
            if tables and (days := self._known_days(known, model, requests)) is not None:
                found |= dict.fromkeys(tables, days)
        return found

    def _known_days(self, known: DaysOfJobs, model: Model, requests: Sequence[str]) -> JobDays | None:
        """The days of some jobs, looked up once: most models of a build are planned for the same jobs.

        The table is taken as the build met it. As this build leaves it, a fault of its commit would hide the rows of its jobs from every model
        after it, and so from the tests that would have found them missing.
        """
        if known.name not in self._tables_of_days:
            made = self._made_of(known.name) if known.name in self._gold else None
            is_known = made is not None and made.definition == self._definitions.get(known.name)
            self._tables_of_days[known.name] = (made, Files(made.handle, None)) if made is not None and is_known else None
        if (table := self._tables_of_days[known.name]) is None:
            return None
        before = self._days_of_jobs.get(known.name)
        if before is None or before[0] != requests:
            days = known_days(known, *table, self._silver, self._cursor, requests=requests, table=f"{model.schema}.requests")
            before = self._days_of_jobs[known.name] = (requests, days)
        return before[1]

    def _prepare(self, plan: Plan, made: Mapping[str, GoldTable]) -> Plan:
        """Make the views of a model that is built, and cut its keys into parts where they are many."""
        model = plan.model
        cursor = self._cursor()
        cursor.execute(f"create schema if not exists {model.schema}")
        gold_inputs = self._inputs_by_keys(model, made)
        for name in model.touched_by:
            _show_input(cursor, model, name, f"select * from {self._scan(made[name].handle)}")
        if model.scope == "days":
            self._make_days_views(plan, gold_inputs)
            return plan
        if model.scope in ("event_days", "received_days", "whole"):
            self._make_silver_views(plan, gold_inputs)
            return plan
        silver_inputs = [rows for name in model.silver if (rows := self._silver_rows(name)) is not None]
        inputs = [*silver_inputs, *gold_inputs]
        keys = None
        if plan.mode == "incremental":
            keys = Keys("", plan.requests, plan.days, self._job_days(model, plan.requests))
        counted: Mapping[str, str] = {}
        if sum(rows.at_most(keys) for rows in inputs) > self._part_rows:
            counted = {rows.name: self._count(rows, model, keys) for rows in inputs}
            plan = replace(plan, parts=cut(cursor, model, counted, self._part_rows))
        self._readings[model.name] = _Reading(plan, inputs, keys, counted)
        if plan.parts > 1:
            self.show_chunk(plan, 0)
        else:
            self._make_views(model, inputs, keys)
        return plan

    def _count(self, rows: _Rows, model: Model, keys: Keys | None) -> str:
        """Name of the DuckDB table of how many rows each key has. Of a whole table it is made once, however many models read it."""
        cursor = self._cursor()
        if keys is not None:
            table = f"{model.schema}.{identifier(f'counted_{rows.name}')}"
            count_rows(cursor, table, self._of_keys(rows, model, keys), _date_of(rows.day))
            return table
        source = self._scan(rows.handle)
        if source not in self._counted:
            table = f"counted.{identifier(f'{rows.name}_{rows.handle.version()}')}"
            cursor.execute("create schema if not exists counted")
            count_rows(cursor, table, source, _date_of(rows.day))
            self._counted[source] = table
        return self._counted[source]

    def _silver_rows(self, name: str) -> _Rows | None:
        handle = self._silver.handle(name)
        if handle is None:
            return None
        if name not in self._silver_files:
            self._silver_files[name] = Files(handle, "event_at")
        return _Rows(name, handle, self._silver_files[name], "event_date")

    def _gold_rows(self, name: str, handle: DeltaTable, day: str | None) -> _Rows:
        return _Rows(name, handle, Files(handle, day), day)

    def _inputs_by_keys(self, model: Model, made: Mapping[str, GoldTable]) -> list[_Rows]:
        """The gold inputs that are not seen whole whatever the keys are."""
        return [
            self._gold_rows(each.name, made[each.name].handle, each.orphan_day) for each in model.gold if each.name not in model.touched_by
        ]

    def _make_views(self, model: Model, inputs: Sequence[_Rows], keys: Keys | None) -> None:
        cursor = self._cursor()
        shown = {rows.name: f"select * from {self._of_keys(rows, model, keys)}" for rows in inputs}
        for name in model.silver:
            shown[name] = f"{empty_rows(name)} union all by name {shown[name]}" if name in shown else empty_rows(name)
        for name, query in shown.items():
            _show_input(cursor, model, name, query)

    def _make_days_views(self, plan: Plan, inputs: Sequence[_Rows]) -> None:
        cursor = self._cursor()
        schema = plan.model.schema
        for rows in inputs:
            source = self._of_days(rows.handle, plan) if plan.mode == "incremental" else self._scan(rows.handle)
            _show_input(cursor, plan.model, rows.name, f"select * from {source}")
        if plan.mode == "full":
            days = " union ".join(f"select distinct event_date from {self._scan(rows.handle)}" for rows in inputs)
            cursor.execute(f"create or replace table {schema}.{DAYS} as {days}")

    def _make_silver_views(self, plan: Plan, gold_inputs: Sequence[_Rows]) -> None:
        """Views of silver for the scopes that need no jobs: all of it, or what has one of the days."""
        model, cursor = plan.model, self._cursor()
        shown = {rows.name: f"select * from {self._scan(rows.handle)}" for rows in gold_inputs}
        for name in model.silver:
            source = self._silver.source(name, self._snapshots) if plan.mode == "full" else self._silver_of_days(name, plan)
            shown[name] = f"{empty_rows(name)} union all by name {source}"
        if model.counts_duplicates:
            self._make_duplicates(plan)
            shown["duplicates"] = f"from {model.schema}.duplicates"
        for name, query in shown.items():
            _show_input(cursor, model, name, query)

    def _silver_of_days(self, name: str, plan: Plan) -> str:
        """The rows of a silver table with one of the plan's days, out of the files that can have them."""
        rows = self._silver_rows(name)
        if rows is None:
            return empty_rows(name)
        if plan.model.scope == "received_days":  # what the table is partitioned by
            return f"select * from {self._scan(rows.handle)} where received_date in ({date_list(plan.days)})"
        files = rows.files.with_days(plan.days)
        if not files:
            return empty_rows(name)
        return f"select * from {read_files(files)} where event_date in (select event_date from {plan.model.schema}.{DAYS})"

    def _make_duplicates(self, plan: Plan) -> None:
        """The table ``duplicates`` of the model's schema: what the model's own rows say of them, and what came since.

        A ledger lives as long as its log entry, which is a week. What it said is carried on, even where all else is made anew.
        """
        model, cursor = plan.model, self._cursor()
        state = self._made.get(model.name)
        found = self._silver.duplicates(model.silver, {} if state is None else state.silver)
        cursor.execute(
            f"create or replace table {model.schema}.duplicates (silver_table varchar, received_hour timestamptz, duplicates bigint)"
        )
        if found:
            cursor.executemany(f"insert into {model.schema}.duplicates values (?, ?, ?)", found)
        if state is not None and gold.same_schema(state.handle, model.spec):
            condition = "" if plan.mode == "full" else f" and received_date in ({date_list(plan.days)})"
            cursor.execute(
                f"insert into {model.schema}.duplicates select event_type, received_hour, duplicates from {self._scan(state.handle)} "
                f"where duplicates > 0{condition}"
            )

    def _of_days(self, handle: DeltaTable, plan: Plan) -> str:
        """SQL of the rows of a table that a plan of days looks at, as a source of a ``from``."""
        if not plan.days:
            return f"(select * from {self._scan(handle)} where false)"
        first = shifted(plan.days[0], -plan.model.days_before)
        between = f"{date_literal(first)} and {date_literal(plan.days[-1])}"
        return f"(select * from {self._scan(handle)} where {plan.model.day_column} between {between})"

    def _of_keys(self, rows: _Rows, model: Model, keys: Keys | None) -> str:
        """SQL of the rows of a table that some keys have, as a source of a ``from``."""
        if keys is None:
            return self._scan(rows.handle)
        arms = [f"select * from {self._scan(rows.handle)} where false"]
        table = f"{model.schema}.{keys.name}"
        if files := rows.of_jobs(keys):
            arms.append(
                f"select * from {self._of_files(rows, model, keys, files)} where request_id in (select request_id from {table}requests)"
            )
        if files := rows.of_days(keys):
            arms.append(
                f"select * from {read_files(files)} where request_id is null and {_date_of(rows.day)} in (select event_date from {table}days)"
            )
        return f"({' union all by name '.join(arms)})"

    def _of_files(self, rows: _Rows, model: Model, keys: Keys, files: Sequence[File]) -> str:
        """Return SQL of the files that can hold rows of some jobs. For a chunk it reads the copy sorted by chunk, if there is one."""
        if keys.name != PART:
            return read_files(files)
        version = (address_of(rows.handle.table_uri), rows.handle.version())
        parts = self._readings[model.name].plan.parts
        requests = f"{model.schema}.{PART}requests"
        return self._clustered.of(version, rows.files.all(), files, parts=parts, cut=f"{model.schema}.cut", requests=requests)


def _show_input(cursor: duckdb.DuckDBPyConnection, model: Model, name: str, query: str) -> None:
    cursor.execute(f"create or replace view {model.schema}.{identifier(scoped_view(name))} as {query}")


def _date_of(column: str | None) -> str | None:
    return column if column is None or column.endswith("_date") else f"cast({column} as date)"
