"""What a gold model may look at: the rows of its keys, in parts where they are many, out of the files that can hold them."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mg_lakehouse.stores import duck, gold
from mg_lakehouse.stores.gold_model import Model
from mg_lakehouse.stores.gold_scope import Scopes
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse_tests.gold.helpers import NOON, append, event


class Session:
    """One build's scopes on a DuckDB of its own."""

    def __init__(self, lake: Lake, *, part_rows: int = 1_000_000) -> None:
        self.connection = duck.connect(lake)
        self.scopes = Scopes(lake, self.cursor, part_rows=part_rows)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = self.connection.cursor()
        duck.configure_cursor(cursor)
        return cursor

    def shown(self, model: Model, table: str) -> list[tuple[Any, ...]]:
        """Job and time of the rows that a view shows, in order."""
        query = f"select request_id, event_date - date '{NOON.date()}' from {model.schema}.scoped_{table}"
        return sorted(self.cursor().execute(query).fetchall(), key=repr)

    def files(self, model: Model, table: str) -> int:
        """How many data files a view reads."""
        row = (
            self.cursor()
            .execute("select sql from duckdb_views() where schema_name = ? and view_name = ?", [f"scope_{model.name}", f"scoped_{table}"])
            .fetchone()
        )
        assert row is not None
        return len(set(re.findall(r"[^/']+\.parquet", row[0])))


def model(name: str = "numbers", *, silver: tuple[str, ...] = ("opens", "deliveries"), orphan_day: str | None = "first_event_at") -> Model:
    columns = [{"name": "request_id", "data_type": "varchar", "description": ""}]
    spec = gold.gold_spec(name, columns, stats_columns=["request_id"], description="")
    return Model(spec, "requests", silver=silver, orphan_day=orphan_day)


DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Four days with a job of 3 deliveries each, an open of the first day's job on the last day, and an orphan on the second."""
    lake = Lake(str(tmp_path_factory.mktemp("scope") / "lake"))
    for number in range(4):
        append(lake, [event("deliveries", second, request=f"{'tb'[number % 2]}-{number}", at=NOON + number * DAY) for second in range(3)])
    append(lake, [event("opens", request=None, at=NOON + DAY)])
    append(lake, [event("opens", request="t-0", at=NOON + 3 * DAY)])
    return lake


def test_keys_with_few_rows_are_one_part_that_reads_the_whole_table(lake: Lake) -> None:
    session, wanted = Session(lake), model()
    plan = session.scopes.plan(wanted)
    assert (plan.mode, plan.parts) == ("full", 1)
    assert len(session.shown(wanted, "deliveries")) == 12
    assert session.files(wanted, "deliveries") == 0


def test_each_part_shows_some_keys_whole_and_every_key_is_in_one(lake: Lake) -> None:
    session, wanted = Session(lake, part_rows=6), model()
    plan = session.scopes.plan(wanted)
    assert plan.parts == 2
    seen: list[tuple[Any, Any]] = []
    for part in range(plan.parts):
        session.scopes.show_part(plan, part)
        seen.append((session.shown(wanted, "deliveries"), session.shown(wanted, "opens")))
    # In the order of their days: a job of 4 rows, one of 3 that begins within the first 6, and then the orphan and two jobs of 3.
    assert seen == [
        ([("b-1", 1)] * 3 + [("t-0", 0)] * 3, [("t-0", 3)]),
        ([("b-3", 3)] * 3 + [("t-2", 2)] * 3, [(None, 1)]),
    ]


def test_a_part_reads_the_files_of_its_days(lake: Lake) -> None:
    session, wanted = Session(lake, part_rows=1), model()
    plan = session.scopes.plan(wanted)
    read = []
    for part in range(plan.parts):
        session.scopes.show_part(plan, part)
        read.append((session.files(wanted, "deliveries"), session.files(wanted, "opens")))
    # The oldest job has an open on another day; the orphan has its file alone.
    assert read == [(1, 1), (1, 0), (0, 1), (1, 0), (1, 0)]


def test_what_belongs_to_no_job_is_no_part_of_a_model_of_jobs(lake: Lake) -> None:
    session, wanted = Session(lake, part_rows=1), model(orphan_day=None)
    assert session.scopes.plan(wanted).parts == 4


def test_a_job_is_never_cut(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    append(lake, [event("deliveries", second, request="b-large") for second in range(20)])
    append(lake, [event("deliveries", request="b-small", at=NOON + DAY)])
    session, wanted = Session(lake, part_rows=5), model(silver=("deliveries",))
    plan = session.scopes.plan(wanted)
    shown = []
    for part in range(plan.parts):
        session.scopes.show_part(plan, part)
        shown.append(len(session.shown(wanted, "deliveries")))
    assert shown == [20, 1]
