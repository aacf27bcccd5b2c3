"""Builds gold: for each model what changed, its compiled SQL on DuckDB, its Delta commit, and its tests.

The way of a model: :mod:`mg_lakehouse.gold.planner` decides and shows DuckDB the rows of the affected keys; its SQL makes the rows; :mod:`mg_lakehouse.gold.commit`
replaces the keys; its tests look at what was made. DuckDB is in memory and forgets everything: the Delta tables are the only state. A model
that fails leaves its table whole, and what is made of it is left as it was.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, cast
from weakref import WeakSet

import duckdb
from deltalake import DeltaTable

from mg_lakehouse._util.progress import remark
from mg_lakehouse.errors import ConfigurationError, LakehouseError, PermanentError, TransientError
from mg_lakehouse.gold import addresses, user_agents
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.contract import AS_OF, BUILD_VARIABLE, GOLD_SCHEMA, STAGED_SCHEMA, TESTED_SCHEMA, BuildVariables
from mg_lakehouse.gold.model import Plan
from mg_lakehouse.gold.pii_key import hmac_pads, pii_key
from mg_lakehouse.gold.planner import Planner
from mg_lakehouse.gold.project import ModelNode, Project, TestNode, compiled_project, definitions
from mg_lakehouse.gold.staging import StagedRows
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.errors import is_full_disk
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import file_list, identifier, text
from mg_lakehouse.settings import Settings

__all__ = ["BuildResult", "NodeResult", "as_of_from_environment", "build", "build_variables", "run", "seed_rows", "set_variables"]

_AT_ONCE: Final = 2
"""Models at a time: while one waits for the disk, another computes. DuckDB uses all cores for each."""

_AT_ONCE_IN_A_STORE: Final = 8
"""The same where the lake is in an object store: a small model waits for some ten answers, one after the other, and computes for as long as one takes."""

_ENDED_WELL: Final = frozenset({"success", "unchanged", "pass", "warn"})
_SAFE: Final = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.OutOfMemoryException)
"""DuckDB's errors whose text names columns and sizes, and quotes no value."""


class NodeResult(NamedTuple):
    """What became of a model or of a test.

    ``status`` of a model is `success`, `unchanged`, `error` or `skipped`, that of a test `pass`, `warn`, `fail`, `error` or `skipped`.
    ``failures`` is how many rows fail a test, ``table`` the table of a model that ended well.
    """

    unique_id: str
    status: str
    seconds: float = 0.0
    message: str = ""
    failures: int | None = None
    error: LakehouseError | None = None
    table: DeltaTable | None = None

    @property
    def name(self) -> str:
        """The name of the model or of the test."""
        return self.unique_id.split(".")[2]

    @property
    def is_model(self) -> bool:
        """Whether it is a model."""
        return self.unique_id.startswith("model.")

    @property
    def ok(self) -> bool:
        """Whether it ended well. A test that only warns did."""
        return self.status in _ENDED_WELL


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What became of a build: its nodes by unique id."""

    nodes: Mapping[str, NodeResult]

    @property
    def ok(self) -> bool:
        """Whether every node ended well. A test that only warns did."""
        return all(node.ok for node in self.nodes.values())

    def raise_if_failed(self) -> None:
        """Say in one sentence what failed.

        Raises:
            PermanentError: a model or a test failed.
            TransientError: what failed may be tried again: the store did not answer, or another build came first.
        """
        failed = [node for node in self.nodes.values() if node.status in {"error", "fail"}]
        if not failed:
            return
        why = next((f" {node.message}" for node in failed if node.message), "")
        sentence = f"The gold build failed ({', '.join(node.name for node in failed)}): models it did not build are unchanged.{why}"
        raise TransientError(sentence) if all(isinstance(node.error, TransientError) for node in failed) else PermanentError(sentence)


def build(lake: Lake, settings: Settings, **options: Any) -> BuildResult:
    """Build gold tables, and report what became of each node. The options and errors are those of :func:`run`."""
    return BuildResult({result.unique_id: result for result in run(lake, settings, **options)})


def run(
    lake: Lake,
    settings: Settings,
    *,
    models: Collection[str] | None = None,
    tests: Collection[str] | None = None,
    full_refresh: bool = False,
    variables: Mapping[str, Any] | None = None,
    as_of: datetime | None = None,
) -> Generator[NodeResult, None, None]:
    """Build gold tables, and yield what became of each node as soon as it is known.

    A model that fails is reported, not raised: its table stays whole, and what is made of it is skipped. So is what stands on a failed test.

    Args:
        lake: the lake.
        settings: the settings.
        models: names of the models, by default all.
        tests: names of the tests, by default those of the models at hand. One that compares with a table that is neither built nor an input of
            what is built is left out by default.
        full_refresh: whether to make all rows anew.
        variables: values of dbt's variables that differ from the project's.
        as_of: the time that the build is made for, by default the one in ``MG_AS_OF``, else now.

    Raises:
        ConfigurationError: there is no project, or no key of the addresses' hashes.
        PermanentError: the project does not compile, or access is refused.
        TransientError: the store did not answer.
    """
    project = compiled_project(settings, variables)
    chosen = frozenset(project.models if models is None else models)
    if unknown := sorted(chosen - set(project.models)):
        raise ConfigurationError(f"There is no gold model {', '.join(unknown)}: the models are {', '.join(sorted(project.models))}.")
    wanted = project.tests_of(chosen) if tests is None else [test for test in project.tests if test.name in tests]
    with _Session(lake, settings, project, as_of or as_of_from_environment()) as session:
        yield from _Build(session, project, chosen, wanted, full_refresh=full_refresh).results()


class _Session:
    """The DuckDB of one build: seeds, user agents, what holds for the whole build, and the planner's views. Safe to use from several threads."""

    def __init__(self, lake: Lake, settings: Settings, project: Project, as_of: datetime) -> None:
        self.lake = lake
        self.settings = settings
        self._variables = build_variables(lake, settings, as_of)
        self.definitions = definitions(project, business_timezone=settings.business_timezone, key=self._variables["hmac_inner"])
        self._lock = threading.Lock()
        self._is_stopped = False
        self._cursors: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()
        self._of_thread = threading.local()
        # Rows in an order that nobody looks at would cost memory.
        self._connection = duckdb.connect(config={**duck.connection_options(), "preserve_insertion_order": "false"})
        duck.configure(self._connection, lake, reads_logs=False)
        user_agents.register(self._connection)
        addresses.register(self._connection)
        for schema in (GOLD_SCHEMA, STAGED_SCHEMA, TESTED_SCHEMA):
            self._connection.execute(f"create schema {schema}")
        for name, file in project.seeds.items():
            self._connection.execute(f"create table {GOLD_SCHEMA}.{identifier(name)} as from {seed_rows(file)}")
        self.folder = Path(tempfile.mkdtemp(dir=duck.private_folder()))
        self.planner = Planner(
            lake,
            self.cursor,
            part_rows=settings.gold_part_rows,
            build_id=self._variables["build_id"],
            folder=self.folder,
            definitions=self.definitions,
        )
        self.planner.open_all(list(project.models))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """The cursor of this thread, which knows what holds for the build. To tell a new one each time took an eighth of a small refresh."""
        if (known := getattr(self._of_thread, "cursor", None)) is not None and not self._is_stopped:
            return cast("duckdb.DuckDBPyConnection", known)
        cursor = self._of_thread.cursor = self.reader()
        set_variables(cursor, self._variables)
        return cursor

    def reader(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own for rows that are read while other statements run."""
        with self._lock:
            if self._is_stopped:
                raise duckdb.InterruptException("The build was stopped.")
            cursor = self._connection.cursor()
            self._cursors.add(cursor)
        return cursor

    def stop(self) -> None:
        """End the queries that run, and begin no other."""
        with self._lock:
            self._is_stopped = True
            for cursor in self._cursors:
                cursor.interrupt()


class _Build:
    """One build, model by model in the order of the graph, two at a time."""

    def __init__(
        self, session: _Session, project: Project, chosen: frozenset[str], tests: Sequence[TestNode], *, full_refresh: bool
    ) -> None:
        self._session = session
        self._project = project
        self._chosen = chosen
        self._full_refresh = full_refresh
        self._lock = threading.Lock()
        self._waiting = list(tests)
        self._made: set[str] = set()
        self._failed: set[str] = set()
        self._failed_tests: list[frozenset[str]] = []
        self._redefined: list[str] = []

    def results(self) -> Iterator[NodeResult]:
        """Build, and yield the result of each node."""
        for name in self._project.models.keys() - self._chosen:
            self._session.planner.show_whole(name)
        yield from self._tests_of(self._ready_tests())
        inputs = {name: self._project.ancestors(name) & self._chosen for name in self._chosen}
        order = TopologicalSorter(inputs)
        order.prepare()
        with ThreadPoolExecutor(_AT_ONCE if self._session.lake.is_local else _AT_ONCE_IN_A_STORE) as pool:
            running: dict[Future[list[NodeResult]], str] = {}
            try:
                while order.is_active():
                    for name in order.get_ready():
                        running[pool.submit(self._node, self._project.models[name])] = name
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = running.pop(future)
                        yield from future.result()
                        order.done(name)
            finally:
                if running:  # stopped: what is computed now is of no use
                    pool.shutdown(wait=False, cancel_futures=True)
                    self._session.stop()
        if self._redefined:
            remark(
                f"{len(self._redefined)} gold tables were made anew, once, for their definition changed: by another release, model, seed, "
                f"threshold, time zone or key ({', '.join(sorted(self._redefined))})."
            )

    def _node(self, node: ModelNode) -> list[NodeResult]:
        """Build a model, and run the tests that only waited for it."""
        started = time.monotonic()
        ancestors = self._project.ancestors(node.name)
        if ancestors & self._failed or any(models <= ancestors for models in self._failed_tests):
            self._failed.add(node.name)
            result = NodeResult(node.unique_id, "skipped")
        else:
            result = self._guarded(node.unique_id, lambda: self._model(node))
            if result.status == "error":
                self._failed.add(node.name)
        result = result._replace(seconds=time.monotonic() - started, table=self._session.planner.table(node.name) if result.ok else None)
        return [result, *self._tests_of(self._ready_tests(node.name))]

    def _model(self, node: ModelNode) -> NodeResult:
        session = self._session
        model = replace(node.model, definition=session.definitions[node.name], full_refresh=self._full_refresh)
        plan = session.planner.plan(model)
        if plan.mode == "unchanged":
            session.planner.show(plan)
            return NodeResult(node.unique_id, "unchanged")
        if plan.mode == "full" and session.planner.is_redefined(model):
            self._redefined.append(node.name)
        staged = StagedRows(
            session.cursor,
            session.reader,
            node.name,
            model.spec.stats_columns[:2],
            part_rows=session.settings.gold_part_rows,
            folder=session.folder,
            columns=list(model.spec.schema),
        )
        for number in range(plan.chunks):
            if number:
                staged.spill()
                session.planner.show_chunk(plan, number)
            self._stage(node, plan, staged)
        if plan.chunks > 1:
            staged.spill()
        self._commit(plan, staged)
        return NodeResult(node.unique_id, "success", message=plan.mode)

    def _stage(self, node: ModelNode, plan: Plan, staged: StagedRows) -> None:
        """Make the rows by the model's SQL, which sees the plan's views under their short names.

        Raises:
            PermanentError: the columns are not those of the contract.
        """
        cursor = self._session.cursor()
        cursor.execute(f"set search_path = {text(f'{plan.schema},main')}")
        staged.count = (cursor.execute(f"create table {staged.table} as {node.sql}").fetchone() or (0,))[0]
        made = {column[0]: str(column[1]) for column in cursor.execute(f"from {staged.table} limit 0").description or []}
        if made != (declared := dict(node.columns)):
            differing = sorted(name for name in made.keys() | declared.keys() if made.get(name) != declared.get(name))
            raise PermanentError(
                f"gold/{node.name} does not keep its contract: "
                + "; ".join(f"{name} is {made.get(name, 'missing')}, declared {declared.get(name, 'nowhere')}" for name in differing)
                + ". Correct the model or its yml of the dbt project."
            )

    def _commit(self, plan: Plan, staged: StagedRows) -> None:
        planner = self._session.planner
        committed = plan.handle
        marks = planner.export_marks(plan, staged.table)
        for write in planner.writes(plan, staged.table):
            staged.written = write.rows
            committed = gold.commit(
                self._session.lake,
                plan.model.spec,
                staged.rows,
                handle=committed,
                predicate=write.predicate,
                only_adds=write.only_adds,
                transactions=marks,
                definition=plan.model.definition,
                silver=write.included,
                silver_ids=planner.table_ids,
            )
        planner.show(plan, committed)
        if staged.parts or not planner.keep(plan, staged.table, staged.count):
            staged.remove()

    def _ready_tests(self, *made: str) -> list[TestNode]:
        """The tests that wait for no model any more, now that some are made. Each is given out once, whichever thread asks."""
        with self._lock:
            self._made |= set(made)
            others = self._chosen - self._made
            ready = [test for test in self._waiting if not test.models & others]
            self._waiting = [test for test in self._waiting if test.models & others]
            return ready

    def _tests_of(self, tests: Sequence[TestNode]) -> Iterator[NodeResult]:
        """Run tests in one query; where that fails, each by itself, to know which."""
        sound = [test for test in tests if not test.models & self._failed]
        yield from (NodeResult(test.unique_id, "skipped") for test in tests if test not in sound)
        if not sound:
            return
        started = time.monotonic()
        try:
            found = self._asked(sound)
        except duckdb.Error:
            yield from (self._guarded(test.unique_id, lambda test=test: self._tested(test, self._asked([test]))) for test in sound)  # type: ignore[misc]
            return
        each = (time.monotonic() - started) / len(sound)
        yield from (self._tested(test, found)._replace(seconds=each) for test in sound)

    def _asked(self, tests: Sequence[TestNode]) -> Mapping[str, tuple[int, bool, bool]]:
        rows = self._session.cursor().execute(" union all ".join(test.query for test in tests)).fetchall()
        return {name: (failures, warns, fails) for name, failures, warns, fails in rows}

    def _tested(self, test: TestNode, found: Mapping[str, tuple[int, bool, bool]]) -> NodeResult:
        failures, warns, fails = found[test.name]
        if fails and test.severity == "error":
            self._failed_tests.append(test.models)
            return NodeResult(test.unique_id, "fail", message=f"{failures} rows fail {test.name}.", failures=failures)
        return NodeResult(test.unique_id, "warn" if warns or fails else "pass", failures=failures)

    def _guarded(self, unique_id: str, work: Callable[[], NodeResult]) -> NodeResult:
        """An error is a result. What DuckDB says may quote a value, so of most of its errors only the kind is told."""
        try:
            return work()
        except LakehouseError as error:
            return NodeResult(unique_id, "error", message=str(error), error=error)
        except (duckdb.Error, OSError) as error:
            return NodeResult(unique_id, "error", message=_told(error))


def _told(error: duckdb.Error | OSError) -> str:
    """What may be told of an error, as a sentence."""
    if is_full_disk(error):
        return (
            "The disk of the lake or of TMPDIR is full, or a limit on its files is reached: free some space, or set TMPDIR to another disk."
        )
    if isinstance(error, _SAFE):
        return f"DuckDB: {str(error).splitlines()[0]}"
    return f"{type(error).__name__}."


def build_variables(lake: Lake, settings: Settings, as_of: datetime) -> BuildVariables:
    """What holds for a whole build, with an id of its own.

    Raises:
        ConfigurationError: the lake has no key of the addresses' hashes.
    """
    key = hmac_pads(pii_key(settings, lake))
    return {
        "hmac_inner": key.inner,
        "hmac_outer": key.outer,
        "as_of": as_of,
        "build_id": uuid.uuid4().hex,
        "business_timezone": settings.business_timezone,
    }


def set_variables(cursor: duckdb.DuckDBPyConnection, variables: BuildVariables) -> None:
    """Tell a cursor what holds for the build. The key's pads go in as parameters, so that no SQL text holds them."""
    cursor.execute(f"set variable {BUILD_VARIABLE} = ?", [variables])


def seed_rows(file: Path) -> str:
    """SQL of the rows of a seed, as a source of a ``from``: all text, to which the staging models give types."""
    return f"read_csv({file_list([str(file)])}, header = true, all_varchar = true)"


def as_of_from_environment() -> datetime:
    """The time that the build is made for: ``MG_AS_OF`` in ISO 8601, read as UTC where it has no offset, else now.

    Raises:
        ConfigurationError: the value is no ISO time.
    """
    value = os.environ.get(AS_OF)
    if not value:
        return datetime.now(UTC)
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError as error:
        raise ConfigurationError(f"{AS_OF}: {value!r} is no ISO time; use one such as 2026-01-31T12:00:00Z.") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
