"""A daily file of the AccountActivity API into bronze: memory is what the settings say, not what the file holds, and progress is shown."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Any, Final, NamedTuple

from benchmarks.data.daily_file import KEY, DailyFile, write_daily_file
from benchmarks.goals.context import Context
from benchmarks.goals.tables import memory_plot, mib, verdict
from benchmarks.harness.outcome import Outcome, Reached, Table
from benchmarks.harness.processes import Done, WorkFailedError, run, work_command
from mg_lakehouse.bronze.account_activity import files_in_bronze
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.testing.web_service import ActivityApi

TITLE: Final = "Daily files: one of any size into bronze"
_PART: Final = 4
_GOAL: Final = 1.25
"""Four times the file may take a quarter more memory: what a process keeps for itself settles slowly."""


class _Case(NamedTuple):
    """A file, and what came of fetching it."""

    file: DailyFile
    done: Done

    @property
    def name(self) -> str:
        return f"{_gb(self.file.bytes)}, {self.file.items:,} events"


def measure(context: Context) -> Outcome:
    """Fetch a file of a quarter of the size, and one of all of it.

    Raises:
        WorkFailedError: a fetch failed, or what came to bronze is not what the file holds.
    """
    size = context.size.daily_file_bytes
    cases = [_fetch(context, size // _PART), _fetch(context, size)]
    part, whole = cases
    growth = whole.done.peak_bytes / part.done.peak_bytes
    told = whole.done.answer["progress"]
    answer: Any = whole.done.answer
    note = (
        "Fetched, looked through as a whole, cut into bundles and committed, with default settings. The server is in another process on the same cores and "
        f"sends a zip from disk, {answer['fetched_bytes'] / 1e6:,.0f} MB of the larger file; MB/s are of the unpacked one. "
        f"Progress is told of the download, of the look through and after each commit, the first time after {told[0]:,.0f} of {answer['seconds']:,.0f} s."
    )
    return Outcome(
        "daily_file",
        TITLE,
        [
            Reached(
                f"a daily file of {_gb(whole.file.bytes)} into bronze: peak memory against that of a quarter of it",
                f"memory bounded by configuration (at most {_GOAL:g}x)",
                f"{growth:.2f}x, {mib(whole.done.peak_bytes)}",
                verdict(growth, at_most=_GOAL),
            ),
            Reached("its progress", "shown", f"told {len(told)} times on the way", len(told) > 1),
        ],
        [
            Table(
                TITLE,
                ("", "seconds", "CPU", "events/s", "MB/s", "peak memory", "commits", "progress told"),
                [_row(case) for case in cases],
                note,
            )
        ],
        [memory_plot("daily-file-memory", "Memory while a daily file is fetched into bronze", {case.name: case.done for case in cases})],
        (),
        {case.name: {key: value for key, value in case.done.answer.items() if key != "progress"} for case in cases},
    )


def _gb(number: int) -> str:
    return f"{round(number / 1e9, 3):g} GB"


def _fetch(context: Context, size: int) -> _Case:
    _, feed = context.feed()
    packed, lake = context.folder / f"{KEY.day}_{KEY.activity_type}.zip", context.folder / "lake"
    file = write_daily_file(packed, feed, size=size)
    context.say(f"a file of {file.bytes:,} bytes is there, {packed.stat().st_size:,} as a zip")
    with ActivityApi({}, zips={KEY: packed}, today=lambda: KEY.day + timedelta(days=1)) as api:
        asked = {"lake": str(lake), "environment": api.environment, "day": KEY.day.isoformat(), "type": KEY.activity_type}
        done = run(work_command("daily-file"), asked, environment={"TMPDIR": str(context.folder)})
    is_there = KEY in files_in_bronze(Lake(str(lake)), [KEY.day])
    shutil.rmtree(lake)
    packed.unlink()
    if not is_there or (done.answer["events"], done.answer["bytes"]) != file:
        raise WorkFailedError(f"Of {file.items:,} events in {file.bytes:,} bytes not all came to bronze.")
    case = _Case(file, done)
    context.say(f"{case.name}: {done.answer['seconds']:.1f} s, {mib(done.peak_bytes)}")
    return case


def _row(case: _Case) -> tuple[str, ...]:
    answer: Any = case.done.answer
    seconds = answer["seconds"]
    return (
        case.name,
        f"{seconds:,.0f}",
        f"{answer['cpu_seconds']:,.0f} s",
        f"{case.file.items / seconds:,.0f}",
        f"{case.file.bytes / seconds / 1e6:,.0f}",
        mib(case.done.peak_bytes),
        f"{answer['commits']:,}",
        f"{len(answer['progress']):,}",
    )
