"""The dbt-duckdb plugin of the gold layer: it prepares each connection, plans each model and writes it to Delta.

Named in ``dbt_project/profiles.yml``. The project's materialization ``delta`` calls it for a model with the format ``plan`` before the
model's SQL runs, with ``next part`` between two parts of one that is built in parts, and with ``commit`` after its rows are staged.
DuckDB is in memory and forgets everything; the Delta tables are the only state.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.duckdb.utils import TargetConfig

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold import user_agents
from mg_lakehouse.gold.contract import (
    AS_OF,
    BUILD_VARIABLE,
    GOLD_SCHEMA,
    PLANS,
    STAGED_SCHEMA,
    TESTED_SCHEMA,
    BuildVariables,
    ModelRequest,
    Step,
    marts,
    scope_of,
    seeds,
)
from mg_lakehouse.gold.model import Input, Model, Plan
from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.gold.pii_key import hmac_pads, pii_key
from mg_lakehouse.gold.planner import Planner
from mg_lakehouse.gold.staging import StagedRows
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import file_list, identifier
from mg_lakehouse.settings import Settings, load_settings

__all__ = ["Plugin", "definition_parts"]


class Plugin(BasePlugin):
    """dbt-duckdb makes one of these for a process."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:  # noqa: ARG002  nothing comes from the profile
        """Read the settings; the connection comes later."""
        self._settings: Settings = load_settings(dotenv=None)
        self._lake = Lake(self._settings.lake_uri)
        self._project = project_dir(self._settings)
        self._as_of = _as_of_from_environment()
        self._build_id = uuid.uuid4().hex
        self._plans: dict[str, Plan] = {}
        self._staged: dict[str, StagedRows] = {}
        self._definition: int | None = None
        self._connection: duckdb.DuckDBPyConnection
        self._scopes: Planner

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:  # noqa: ARG002  dbt-duckdb's signature
        """Keep DuckDB off the network, its spills out of the working folder, and rows in no order but where a query asks for one."""
        config.update(duck.connection_options())
        config["preserve_insertion_order"] = "false"  # an order that nobody looks at costs memory

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Load the extensions, show the seeds and the gold tables that exist: a run may select any part of the models."""
        self._connection = conn
        self._pads = hmac_pads(pii_key(self._settings, self._lake))
        duck.configure(conn, self._lake)
        user_agents.register(conn)
        self._scopes = Planner(self._lake, self._cursor, part_rows=self._settings.gold_part_rows, build_id=self._build_id)
        for schema in (GOLD_SCHEMA, STAGED_SCHEMA, TESTED_SCHEMA):
            conn.execute(f"create schema if not exists {schema}")
        conn.execute(f"create table {PLANS} (model varchar, mode varchar, parts bigint)")
        for file in seeds(self._project):
            conn.execute(
                f"create table {GOLD_SCHEMA}.{identifier(file.stem)} as from read_csv({file_list([str(file)])}, header = true, all_varchar = true)"
            )
        self._scopes.show_existing(marts(self._project))

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Set what the models read of the build, one variable in all: five took a fifth of the time of a build's small nodes.

        The key's pads go in as parameters, so that no SQL text holds them.
        """
        of_build: BuildVariables = {
            "hmac_inner": self._pads.inner,
            "hmac_outer": self._pads.outer,
            "as_of": self._as_of,
            "build_id": self._build_id,
            "business_timezone": self._settings.business_timezone,
        }
        cursor.execute(f"set variable {BUILD_VARIABLE} = ?", [of_build])

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = self._connection.cursor()
        self.configure_cursor(cursor)
        return cursor

    def store(self, target_config: TargetConfig) -> None:
        """Plan a model, go on to its next part or commit it; the materialization says which by the format of the location.

        Raises:
            ConfigurationError: the project asks for a step that this release does not know.
        """
        request = cast("ModelRequest", target_config.config)
        match Step("" if target_config.location is None else target_config.location.format):
            case Step.PLAN:
                self._plan(self._model(request))
            case Step.NEXT_PART:
                self._next_part(self._plans[request["name"]])
            case Step.COMMIT:
                self._commit(self._plans[request["name"]])

    def _plan(self, model: Model) -> None:
        plan = self._scopes.plan(model)
        self._plans[model.name] = plan
        self._staged[model.name] = StagedRows(
            self._cursor, model.name, model.spec.stats_columns[:2], part_rows=self._settings.gold_part_rows
        )
        self._cursor().execute(f"insert into {PLANS} values (?, ?, ?)", [model.name, plan.mode, plan.parts])
        if plan.mode == "unchanged":
            self._scopes.show(plan)

    def _next_part(self, plan: Plan) -> None:
        staged = self._staged[plan.model.name]
        staged.spill()
        self._scopes.show_chunk(plan, staged.parts)

    def _commit(self, plan: Plan) -> None:
        staged = self._staged[plan.model.name]
        if plan.parts > 1:
            staged.spill()
        predicate, only_adds = self._scopes.replaced(plan, staged.table)
        committed = gold.commit(
            self._lake,
            plan.model.spec,
            staged.rows,
            handle=plan.handle,
            predicate=predicate,
            only_adds=only_adds,
            transactions=self._scopes.export_marks(plan, staged.table),
            definition=plan.model.definition,
            silver=plan.included,
            silver_ids=self._scopes.table_ids,
        )
        staged.remove()
        self._scopes.show(plan, committed)

    def _model(self, request: ModelRequest) -> Model:
        spec = gold.gold_spec(
            request["name"], request["columns"], stats_columns=request["stats_columns"], description=request["description"]
        )
        return Model(
            spec=spec,
            scope=scope_of(request["scope"]),
            silver=tuple(request["silver"]),
            gold=tuple(Input(each["name"], each["orphan_day"]) for each in request["gold"]),
            orphan_day=request["orphan_day"],
            days_after=request["days_after"],
            days_before=request["days_before"],
            also_touched=request["also_touched"],
            touched_by=tuple(request["touched_by"]),
            counts_duplicates=request["counts_duplicates"],
            reads=tuple(request["reads"]),
            keys=tuple(request["keys"]),
            replaced_by=request["replaced_by"],
            exported_by=request["exported_by"],
            definition=gold.digest(str(self._definition_of(request["scope"])), repr(sorted(request["vars"].items()))),
            full_refresh=request["full_refresh"],
        )

    def _definition_of(self, scope: str) -> int:
        """Digest of all that the numbers depend on beside the events. A change of any of it rebuilds everything."""
        if self._definition is None:
            self._definition = gold.digest(
                *definition_parts(self._project), self._settings.business_timezone, self._pads.inner, user_agents.definition()
            )
        # What is made of no events may be made of the documentation.
        return self._definition if scope != "static" else gold.digest(str(self._definition), *_documentation_parts(self._project))


def definition_parts(project: Path) -> Iterator[bytes]:
    """The contents of the models, macros and seeds, by name."""
    return _contents(project, (("models", "*.sql"), ("macros", "*.sql"), ("seeds", "*.csv")))


def _documentation_parts(project: Path) -> Iterator[bytes]:
    """The contents of what describes the models, by name."""
    return _contents(project, (("models", "*.yml"), ("models", "*.md")))


def _contents(project: Path, patterns: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    for folder, pattern in patterns:
        for file in sorted((project / folder).rglob(pattern)):
            yield file.relative_to(project).as_posix().encode()
            yield file.read_bytes()


def _as_of_from_environment() -> datetime:
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
