"""How large the files of a gold table are: a refresh rewrites those that hold a touched job, and leaves the others."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from deltalake import DeltaTable

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import replace_predicate
from mg_lakehouse.maintenance.compaction import planned_rewrites, small_files
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.gold.helpers import NUMBERS, table

JOBS: Final = [f"job-{number:03}" for number in range(60)]
ROWS_A_JOB: Final = 20_000
SETTINGS: Final = Settings(small_files=2)


def commit(lake: Lake, rows: pl.DataFrame, *, handle: DeltaTable | None = None, jobs: list[str] | None = None) -> DeltaTable:
    return gold.commit(
        lake,
        NUMBERS,
        lambda: rows.to_arrow(compat_level=pl.CompatLevel.oldest()).to_reader(),
        handle=handle,
        predicate=None if jobs is None else replace_predicate("request_id", jobs),
        definition=7,
        silver={},
        silver_ids={},
    )


def of_jobs(jobs: list[str]) -> pl.DataFrame:
    """Rows of about six bytes."""
    return pl.DataFrame({"request_id": [job for job in jobs for _ in range(ROWS_A_JOB)]}).with_columns(
        n=pl.int_range(pl.len()).hash(1).mod(2**24).cast(pl.Int64)
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_a_refresh_cuts_a_large_file_of_small_rows_once_and_then_rewrites_a_part_of_the_table(lake: Lake) -> None:
    """1.2 million rows are less than 8 MiB, so one file at first: nobody knows yet how small they are."""
    whole = commit(lake, of_jobs(JOBS))
    assert len(whole.file_uris()) == 1
    cut = commit(lake, of_jobs(JOBS[:1]), handle=whole, jobs=JOBS[:1])
    assert max(cut.get_add_actions(flatten=True)["num_records"].to_pylist()) <= 2 * 131_072
    before = set(cut.file_uris())
    again = commit(lake, of_jobs(JOBS[-1:]), handle=cut, jobs=JOBS[-1:])
    kept = before & set(again.file_uris())
    assert len(kept) >= len(before) - 2 >= 5, "a job lies in one file or two"
    counted = dict(table(lake, "numbers").group_by("request_id").len().rows())
    assert counted == dict.fromkeys(JOBS, ROWS_A_JOB)


def test_maintenance_leaves_the_files_that_a_refresh_cut(lake: Lake) -> None:
    handle = commit(lake, of_jobs(JOBS[:1]), handle=commit(lake, of_jobs(JOBS)), jobs=JOBS[:1])
    assert len(handle.file_uris()) > SETTINGS.small_files
    assert planned_rewrites(lake, handle, "gold", SETTINGS, now=datetime.now(UTC), closed=True) == []
    assert small_files(handle, "gold", SETTINGS) <= 1


def test_maintenance_merges_what_many_small_refreshes_left(lake: Lake) -> None:
    handle = commit(lake, of_jobs(JOBS[:1]))
    for job in JOBS[1:5]:
        handle = commit(lake, of_jobs([job]), handle=handle, jobs=[job])
    assert small_files(handle, "gold", SETTINGS) > SETTINGS.small_files
    (merge,) = planned_rewrites(lake, handle, "gold", SETTINGS, now=datetime.now(UTC), closed=False)
    assert (merge.how, merge.partition) == ("merge", None)
