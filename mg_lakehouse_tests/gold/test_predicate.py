"""A refresh of a gold table replaces the rows of its keys and no others: Delta itself reads the predicate."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.commit import gold_spec
from mg_lakehouse.gold.model import Model, predicate_of
from mg_lakehouse.lake.lake import Lake

DAY = date(2026, 3, 10)
MIDNIGHT = datetime(2026, 3, 11, tzinfo=UTC)
SPEC = gold_spec(
    "things",
    [{"name": name, "data_type": kind, "description": "x"} for name, kind in (("request_id", "varchar"), ("event_date", "date"), ("at", "timestamptz"), ("n", "bigint"))],
    stats_columns=["request_id"],
    description="Things.",
)  # fmt: skip
JOBS = [f"k{number:02d}" for number in range(41)]
TOUCHED = [*JOBS[::2], "o'b"]
"""More keys than ranges that they are cut into, so that a range holds a key that is not of them."""


def rows() -> list[tuple[str | None, date, datetime, int]]:
    before, noon, last = MIDNIGHT - timedelta(days=1), MIDNIGHT - timedelta(hours=12), MIDNIGHT - timedelta(microseconds=1)
    named = [(job, DAY, noon, number) for number, job in enumerate([*JOBS, "o'b", "o'c"])]
    orphans = [before - timedelta(microseconds=1), before, noon, last, MIDNIGHT, MIDNIGHT + timedelta(hours=1)]
    return [*named, *((None, at.date(), at, 100 + number) for number, at in enumerate(orphans))]


def commit(lake: Lake, made: list[tuple[Any, ...]], predicate: str | None) -> None:
    frame = pl.DataFrame(made, SPEC.schema, orient="row").to_arrow(compat_level=pl.CompatLevel.oldest())
    gold.commit(
        lake,
        SPEC,
        pa.table(frame).to_reader,
        handle=lake.open("gold", "things"),
        predicate=predicate,
        definition=1,
        silver={},
        silver_ids={},
    )


def kept(lake: Lake) -> set[int]:
    return set(pl.read_delta(lake.uri_of("gold", "things"))["n"])


@pytest.mark.parametrize("orphan_day", ["event_date", "at"])
def test_a_refresh_replaces_the_rows_of_its_keys_and_no_others(tmp_path: Path, orphan_day: str) -> None:
    lake = Lake(str(tmp_path / "lake"))
    commit(lake, rows(), None)
    new = [("k00", DAY, MIDNIGHT, 1_000)]
    commit(lake, new, predicate_of(Model(SPEC, "requests", orphan_day=orphan_day), TOUCHED, [DAY]))
    untouched = {number for number, job in enumerate([*JOBS, "o'b", "o'c"]) if job not in TOUCHED}
    # Of what belongs to no job only the rows of the day went: its first instant and its last, and neither the one before nor the one behind.
    assert kept(lake) == untouched | {100, 104, 105} | {1_000}


def test_a_refresh_of_days_alone_leaves_the_rows_of_jobs(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    commit(lake, rows(), None)
    commit(lake, [], predicate_of(Model(SPEC, "requests", orphan_day="at"), [], [DAY]))
    assert kept(lake) == set(range(43)) | {100, 104, 105}


def test_a_refresh_of_a_table_of_days_replaces_its_days(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    commit(lake, rows(), None)
    # As a plan of days says it, see test_touched.
    commit(lake, [], f"event_date IN (DATE '{DAY}')")
    assert kept(lake) == {100, 104, 105}
