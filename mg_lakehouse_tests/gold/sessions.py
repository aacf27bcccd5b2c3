"""One build's look at silver and gold, without dbt around it."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.model import Model, Plan
from mg_lakehouse.gold.planner import Planner
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import MARTS, NOON

DAY: Final = timedelta(days=1)


class Session:
    """One build's planner on a DuckDB of its own."""

    def __init__(self, lake: Lake, *, part_rows: int = 1_000_000, is_of_these_definitions: bool = True) -> None:
        self.connection = duck.connect(lake)
        self.schemas: dict[str, str] = {}
        self.planner = Planner(
            lake,
            self.cursor,
            part_rows=part_rows,
            build_id="b",
            folder=Path(duck.private_folder()),
            definitions=made_by(lake) if is_of_these_definitions else {},
        )
        self.planner.open_all(MARTS)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        return self.connection.cursor()

    def plan(self, model: Model) -> Plan:
        """What the build would do with a model; its views are there."""
        plan = self.planner.plan(model)
        self.schemas[model.name] = plan.schema
        return plan

    def shown(self, model: Model, table: str) -> list[tuple[Any, ...]]:
        """Job and time of the rows that a view shows, in order."""
        query = f"select request_id, event_date - date '{NOON.date()}' from {self.schemas[model.name]}.scoped_{table}"
        return sorted(self.cursor().execute(query).fetchall(), key=repr)

    def files(self, model: Model, table: str) -> int:
        """How many data files a view reads."""
        return len(self.paths(model, table))

    def paths(self, model: Model, table: str) -> set[str]:
        """The data files that a view reads."""
        row = (
            self.cursor()
            .execute(
                "select sql from duckdb_views() where schema_name = ? and view_name = ?",
                [self.schemas[model.name].strip('"'), f"scoped_{table}"],
            )
            .fetchone()
        )
        assert row is not None
        return set(re.findall(r"'([^']+\.parquet)'", row[0]))


def made_by(lake: Lake) -> dict[str, int]:
    """The definitions that the lake's gold was made by."""
    handles = {name: lake.open("gold", name) for name in MARTS}
    found = {name: gold.watermarks_of(handle, {}, ()).definition for name, handle in handles.items() if handle is not None}
    return {name: definition for name, definition in found.items() if definition is not None}


def model(name: str = "numbers", *, silver: tuple[str, ...] = ("opens", "deliveries"), orphan_day: str | None = "first_event_at") -> Model:
    columns = [{"name": "request_id", "data_type": "varchar", "description": ""}]
    spec = gold.gold_spec(name, columns, stats_columns=["request_id"], description="")
    return Model(spec, "requests", silver=silver, orphan_day=orphan_day)


def make(lake: Lake, made: Model) -> None:
    """Make the model's table, up to date with silver."""
    session = Session(lake)
    plan = session.plan(made)
    rows = pl.DataFrame(schema=made.spec.schema).to_arrow(compat_level=pl.CompatLevel.oldest())
    gold.commit(
        lake,
        made.spec,
        rows.to_reader,
        handle=plan.handle,
        predicate=None,
        definition=made.definition,
        silver=plan.included,
        silver_ids=session.planner.table_ids,
    )
