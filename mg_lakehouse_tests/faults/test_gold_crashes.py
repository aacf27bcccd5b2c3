"""Kill gold builds for real: no half model, every table at a whole version, and the next build as if nothing had happened."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import pytest

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.cli.commands import environment
from mg_lakehouse_tests.faults.consumer import KILLED, Crash, start_build
from mg_lakehouse_tests.faults.power import Left, cut, watched, watcher
from mg_lakehouse_tests.gold.helpers import MARTS, append, build, check_tables, event, rows_of, version

pytestmark = pytest.mark.slow

DEADLINE: Final = 120
FIRST = [
    event("deliveries", recipient_id="1", email="ada@gmail.com"),
    event("bounces", recipient_id="2", category_code=10),
    event("sms_deliveries", request="t1-texts", recipient_id="1", phone="+15550001"),
]
LATER = [
    event("opens", 60, email="ada@gmail.com"),
    event("bounces", 60, recipient_id="3", category_code=22),
    event("opens", 60, request=None),
]
COMMITS: Final = len(MARTS)

Rows = Mapping[str, list[tuple[Any, ...]]]


class States(NamedTuple):
    """Rows of all gold tables after each of two builds that nothing disturbed."""

    first: Rows
    later: Rows


def everything(lake: Lake) -> Rows:
    return {name: rows_of(lake, name) for name in MARTS}


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> States:
    lake = Lake(str(tmp_path_factory.mktemp("undisturbed") / "lake"))
    found = []
    for events in (FIRST, LATER):
        append(lake, events)
        build(lake)
        found.append(everything(lake))
    return States(*found)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    append(lake, FIRST)
    return lake


def commits(lake: Lake) -> int:
    """Commits to gold so far, those that create a table left out."""
    return sum(1 for _ in Path(lake.root, "gold").glob("*/_delta_log/*[1-9].json"))


def killed_when(lake: Lake, seen: Callable[[], bool]) -> int | None:
    """Kill a build as soon as something is seen; its exit code."""
    process = start_build(lake)
    deadline = time.monotonic() + DEADLINE
    while process.is_alive() and not seen() and time.monotonic() < deadline:
        pass
    process.kill()
    return ended(process)


def ended(process: BaseProcess) -> int | None:
    process.join(DEADLINE)
    assert process.exitcode is not None, "a build hangs"
    return process.exitcode


def stands_whole(lake: Lake, before: Rows | None, after: Rows) -> int:
    """Each table has the rows of one state or of the other, and none between. Returns how many have the later one's."""
    newer = 0
    for name in MARTS:
        if lake.open("gold", name) is None or version(lake, name) == 0:
            assert before is None, f"{name} is gone"
            continue
        rows = rows_of(lake, name)
        assert rows == after[name] or (before is not None and rows == before[name]), f"{name} is neither as before nor as after"
        newer += rows == after[name]
    return newer


@pytest.mark.parametrize(
    "crash",
    [
        Crash(Failpoint.COMMIT_DECIDED, 1, "gold/"),
        pytest.param(Crash(Failpoint.COMMIT_DONE, 1, "gold/fct_messages"), marks=pytest.mark.faults),
        pytest.param(Crash(Failpoint.COMMIT_DECIDED, 1, "gold/job_metrics "), marks=pytest.mark.faults),
        *(
            pytest.param(Crash(Failpoint.COMMIT_DONE, nth, "gold/"), marks=() if nth == 4 else pytest.mark.faults)
            for nth in range(1, COMMITS + 1)
        ),
    ],
    ids=str,
)
def test_a_first_build_killed_at_a_commit_is_finished_by_the_next(lake: Lake, states: States, crash: Crash) -> None:
    assert ended(start_build(lake, crash)) == KILLED
    built = stands_whole(lake, None, states.first)
    assert built >= (crash.nth if crash.point == Failpoint.COMMIT_DONE else 0)
    build(lake)
    assert everything(lake) == states.first


@pytest.mark.parametrize("nth", [3, *(pytest.param(nth, marks=pytest.mark.faults) for nth in range(1, COMMITS) if nth != 3)])
def test_an_incremental_build_killed_as_its_nth_commit_is_seen_is_finished_by_the_next(lake: Lake, states: States, nth: int) -> None:
    build(lake)
    append(lake, LATER)
    before = commits(lake)
    assert killed_when(lake, lambda: commits(lake) >= before + nth) in {KILLED, 0}
    stands_whole(lake, states.first, states.later)
    build(lake)
    assert everything(lake) == states.later


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(6))
def test_builds_killed_at_any_moment_again_and_again_are_finished_by_the_next(lake: Lake, states: States, seed: int) -> None:
    rng = Random(seed)
    build(lake)
    append(lake, LATER)
    for _ in range(3):
        moment = time.monotonic() + rng.uniform(2, 9)
        killed_when(lake, lambda moment=moment: time.monotonic() > moment)  # type: ignore[misc]
        stands_whole(lake, states.first, states.later)
    build(lake)
    assert everything(lake) == states.later
    assert check_tables(lake).ok


_WATCHED_BUILD: Final = """
import sys
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse_tests.faults import consumer
consumer._build(sys.argv[1], consumer.Crash(Failpoint.COMMIT_DONE, int(sys.argv[2]), "gold/"))
"""


@pytest.mark.parametrize(
    ("left", "nth"),
    [("names", 4), *(pytest.param(left, nth, marks=pytest.mark.faults) for left in ("nothing", "anything") for nth in (2, 9, 20))],
)
def test_a_power_cut_in_a_build_leaves_what_the_next_build_puts_right(tmp_path: Path, states: States, left: Left, nth: int) -> None:
    """A table whose commit was not synced is refused by name, removed and built anew; what the others say that they include is on disk."""
    library = watcher(tmp_path)
    if library is None:
        pytest.skip("there is no C compiler to make what watches syncs")
    before, log = tmp_path / "before" / "lake", tmp_path / "synced"
    append(Lake(str(before)), FIRST)
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED_BUILD, str(before), str(nth)],
        cwd=Path(__file__).parents[2],
        env=environment(tmp_path, **watched(library, log)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == KILLED, done.stderr[-2_000:]
    lake = Lake(str(cut(before, log, tmp_path / "after" / "lake", left, seed=nth)))
    for name in MARTS:
        try:
            lake.open("gold", name)
        except PermanentError:
            shutil.rmtree(lake.uri_of("gold", name))
    build(lake)
    assert everything(lake) == states.first
