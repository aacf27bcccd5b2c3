"""A day's backlog flattened in one go: memory is what the settings say, not what the day holds, and progress is shown."""

from __future__ import annotations

import shutil
from typing import Any, Final, NamedTuple

from benchmarks.data.bronze import copy_lake, fill
from benchmarks.goals.context import Context
from benchmarks.goals.tables import memory_plot, mib, verdict
from benchmarks.harness.outcome import Outcome, Reached, Table
from benchmarks.harness.processes import Done, run, work_command
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings

TITLE: Final = "Backfill: a day's backlog in one go"
_PART: Final = 4
_GOAL: Final = 1.25
"""Four times the backlog may take a quarter more memory: what a process keeps for itself settles slowly."""


class _Case(NamedTuple):
    """A backlog and a budget; ``done`` is what came of it."""

    events: int
    budget: int
    done: Done

    @property
    def name(self) -> str:
        return f"{self.events:,} events, MG_FLATTEN_BYTES {mib(self.budget)}"


def measure(context: Context) -> Outcome:
    """Flatten a quarter of the backlog and all of it with the default budget, and all of it with a quarter of the budget.

    Raises:
        WorkFailedError: a run failed.
    """
    events = context.size.backfill_events
    budget = Settings().flatten_bytes
    cases = [
        _flatten(context, events // _PART, budget),
        _flatten(context, events, budget),
        _flatten(context, events, budget // _PART),
    ]
    shutil.rmtree(context.folder / f"bronze-{events}")
    part, whole, tight = cases
    growth = whole.done.peak_bytes / part.done.peak_bytes
    reports = whole.done.answer["progress"]
    return Outcome(
        "backfill",
        TITLE,
        [
            Reached(
                f"backfill of {whole.events:,} events: peak memory against that of a quarter of them",
                f"memory bounded by configuration (at most {_GOAL:g}x)",
                f"{growth:.2f}x, {mib(whole.done.peak_bytes)}",
                verdict(growth, at_most=_GOAL),
            ),
            Reached(
                "the same with a quarter of the budget",
                "less memory",
                mib(tight.done.peak_bytes),
                tight.done.peak_bytes < whole.done.peak_bytes,
            ),
            Reached("its progress", "shown", f"told {len(reports)} times on the way", len(reports) > 1),
        ],
        [Table(TITLE, ("", "seconds", "events/s", "peak memory", "progress told"), [_row(case) for case in cases])],
        [memory_plot("backfill-memory", "Memory while a backlog is flattened", {case.name: case.done for case in cases})],
        (),
        {case.name: {key: value for key, value in case.done.answer.items() if key != "progress"} for case in cases},
    )


def _flatten(context: Context, events: int, budget: int) -> _Case:
    file, feed = context.feed(events=min(context.size.events, events))
    bronze = context.folder / f"bronze-{events}"
    if not bronze.exists():
        fill(Lake(str(bronze)), feed, events=events)
        context.say(f"bronze holds {events:,} events")
    lake = copy_lake(bronze, context.folder / "lake")
    done = run(work_command("silver"), {"lake": str(lake), "feed": str(file), "slice_bytes": budget})
    shutil.rmtree(lake)
    case = _Case(events, budget, done)
    context.say(f"{case.name}: {done.answer['seconds']:.1f} s, {mib(done.peak_bytes)}")
    return case


def _row(case: _Case) -> tuple[str, ...]:
    answer: Any = case.done.answer
    return (
        case.name,
        f"{answer['seconds']:,.1f}",
        f"{case.events / answer['seconds']:,.0f}",
        mib(case.done.peak_bytes),
        str(len(answer["progress"])),
    )
