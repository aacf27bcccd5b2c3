"""What the parts of a build look for everywhere they find in one place, however many parts there are."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from mg_lakehouse.gold import clustered as gold_clustered
from mg_lakehouse.gold.model import Model
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import NOON, append, event
from mg_lakehouse_tests.gold.sessions import DAY, Session, make, model

DAYS = 6
JOBS = [f"{'tb'[number % 2]}-{number}" for number in range(DAYS)]
OPENS = {job: [(job, day) for day in range(number, DAYS)] for number, job in enumerate(JOBS)}
"""Each job is opened on the day of its delivery and on all that follow."""


def fill(lake: Lake, jobs: list[str]) -> Lake:
    """A job a day, opened once on each day that is left: a file of opens a day, the later the larger."""
    for day, job in enumerate(jobs):
        append(lake, [event("deliveries", request=job, at=NOON + day * DAY)])
        append(lake, [event("opens", request=each, at=NOON + day * DAY) for each in jobs[: day + 1]])
    return lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Six days, with 21 opens, and one of no job."""
    lake = fill(Lake(str(tmp_path / "lake")), JOBS)
    append(lake, [event("opens", request=None, at=NOON + 2 * DAY)])
    return lake


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy what was looked at in vain twice: small tables have few parts."""
    monkeypatch.setattr(gold_clustered, "WASTED_READS", 2)


def parts(session: Session, wanted: Model) -> list[tuple[list[tuple[Any, ...]], set[str]]]:
    """By part, the opens that it shows and the files that it reads them from."""
    plan = session.plan(wanted)
    found = []
    for part in range(plan.chunks):
        if part:  # a plan shows the first
            session.planner.show_chunk(plan, part)
        found.append((session.shown(wanted, "opens"), session.paths(wanted, "opens")))
    return found


def rows(found: list[tuple[list[tuple[Any, ...]], set[str]]]) -> list[list[tuple[Any, ...]]]:
    return [rows for rows, _ in found]


def own(lake: Lake, found: list[tuple[list[tuple[Any, ...]], set[str]]]) -> list[int]:
    """By part, how many of the files are the table's own."""
    return [sum(path.startswith(lake.root) for path in paths) for _, paths in found]


@pytest.mark.slow
def test_a_table_is_copied_once_it_was_looked_through_sixteen_times_in_vain(tmp_path: Path) -> None:
    jobs = [f"{'tb'[number % 2]}-{number:02}" for number in range(40)]
    found = parts(Session(fill(Lake(str(tmp_path / "lake")), jobs), part_rows=1), model(orphan_day=None))
    assert rows(found) == [sorted(((job, day) for day in range(number, 40)), key=repr) for number, job in enumerate(jobs)]
    # Of 820 rows the files of the days since hold, for job n, 820 - n(n + 1)/2, of which a fortieth is a part's own: 12,775 in vain up to job
    # 16 and 13,422 up to job 17, and sixteen times the table is 13,120.
    assert own(Lake(str(tmp_path / "lake")), found) == [40 - number for number in range(17)] + [0] * 23


@pytest.mark.usefixtures("soon")
def test_the_next_model_reads_what_the_one_before_had_put_into_order(lake: Lake) -> None:
    session = Session(lake, part_rows=1)
    parts(session, model("first"))
    found = parts(session, model("second", silver=("opens",)))
    assert sorted(rows(found), key=repr) == sorted([*(OPENS[job] for job in JOBS), [(None, 2)]], key=repr)
    # What belongs to no job is read from the table, by its day.
    assert sorted(own(lake, found)) == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("part_rows", [3, 5, 8, 12])
def test_every_job_is_shown_whole_however_the_models_are_cut(lake: Lake, part_rows: int) -> None:
    session = Session(lake, part_rows=part_rows)
    every = sorted([*(row for job in JOBS for row in OPENS[job]), (None, 2)], key=repr)
    for number, silver in enumerate((("deliveries", "opens"), ("opens",), ("opens", "clicks"))):
        found = rows(parts(session, model(f"numbers_{number}", silver=silver)))
        assert sorted((row for part in found for row in part), key=repr) == every
        cut = [{row[0] for row in part if row[0]} for part in found]
        assert sum(map(len, cut)) == len(JOBS), "a job is in two parts"


@pytest.mark.usefixtures("soon")
def test_jobs_that_the_model_before_did_not_look_at_are_shown_too(lake: Lake) -> None:
    affected = model("touched", silver=("opens",), orphan_day=None)
    make(lake, affected)
    append(lake, [event("opens", request=job, at=NOON + 9 * DAY) for job in JOBS[1:5]])
    later = {job: [*OPENS[job], *([(job, 9)] if job in JOBS[1:5] else [])] for job in JOBS}

    session = Session(lake, part_rows=1)
    found = parts(session, affected)
    assert rows(found) == [later[job] for job in JOBS[1:5]]
    assert own(lake, found)[-1] == 0
    found = parts(session, model("every", orphan_day=None))
    assert rows(found) == [later[job] for job in JOBS]
    assert own(lake, found) == [0] * 6


@pytest.mark.usefixtures("soon")
def test_without_room_for_a_copy_the_table_is_read_as_before(lake: Lake) -> None:
    session, wanted = Session(lake, part_rows=1), model(orphan_day=None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        found = parts(session, wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert rows(found) == [OPENS[job] for job in JOBS]
    assert own(lake, found) == [6, 5, 4, 3, 2, 1]
