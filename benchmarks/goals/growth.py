"""What a micro-batch and the gold refresh behind it cost, as history grows from a million rows to a hundred million.

One lake grows from size to size, its gold with it, build after build, so that no build ever sees more than ``_STEP`` rows that are new to it.
At each size the same batches go through silver alone, in one process that is warm, and through silver and gold, on copies of the lake.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Final

from benchmarks.data.bronze import copy_lake
from benchmarks.data.history import LAST_DAY, ROWS_A_DAY, History
from benchmarks.data.writing import bundled
from benchmarks.goals.context import Context
from benchmarks.goals.tables import mib, verdict
from benchmarks.harness.compare import Spread
from benchmarks.harness.outcome import Curve, Outcome, Plot, Reached, Table
from benchmarks.harness.processes import Done, run, work_command
from mg_lakehouse.stores.lake import Lake

TITLE: Final = "The cost of a micro-batch against history"
_BATCH: Final = 10_000
_STEP: Final = 2_500_000  # a build of 10 M new rows took 15 GiB
_SILVER_GOAL: Final = 1.25
_GOLD_GOAL: Final = 1.5
_SILVER_BATCHES: Final = 7
_FIRST_MESSAGE: Final = 10**9
_MIDNIGHT: Final = datetime.combine(LAST_DAY, time(0, 10), UTC)
_RECEIVED: Final = datetime.combine(LAST_DAY, time(10, 12), UTC)


@dataclass(frozen=True, slots=True)
class Found:
    """What was found at one size of history. ``builds`` are the builds by which gold came to it, ``whole`` is one from nothing."""

    rows: int
    days: int
    bytes: int
    silver: Done
    gold: Done
    builds: Sequence[Done] = field(default=())
    whole: Done | None = None

    def silver_seconds(self) -> Spread:
        """Of a micro-batch."""
        return Spread.of(self.silver.answer["silver_seconds"])

    def gold_seconds(self) -> Spread:
        """Of a refresh; the first one warms the disk's cache."""
        return Spread.of(self.gold.answer["seconds"][1:])

    def model_seconds(self) -> Spread:
        """Of the models alone, without dbt's start and the tests."""
        return Spread.of(self.gold.answer["models"][1:])


def measure(context: Context) -> Outcome:
    """Grow a lake and measure at each size.

    Raises:
        WorkFailedError: a build or a batch failed.
    """
    lake = context.folder / "lake"
    batches = _write_batches(context)
    found: list[Found] = []
    days = 0
    for rows in context.size.history:
        builds = []
        for step in _steps(days, rows):
            history = History.of_rows(step)
            history.write(Lake(str(lake)), behind=days)
            days = history.days
            builds.append(run(work_command("gold"), {"lake": str(lake), "received": _MIDNIGHT.isoformat()}))
            context.say(f"{history.rows:,} rows, gold built in {builds[-1].answer['seconds'][0]:.0f} s with {mib(builds[-1].peak_bytes)}")
        silver = _on_copy(context, lake, "silver-batches", batches)
        gold = _on_copy(context, lake, "gold", batches[: context.size.history_rounds + 1])
        whole = _build_whole(context, lake) if rows <= context.size.whole_builds else None
        size = sum(file.stat().st_size for file in (lake / "silver").rglob("*.parquet"))
        found.append(Found(History.of_rows(rows).rows, days, size, silver, gold, tuple(builds), whole))
        context.say(
            f"{found[-1].rows:,} rows: silver {found[-1].silver_seconds().text('.2f', ' s')}, gold {found[-1].gold_seconds().text('.1f', ' s')}"
        )
    shutil.rmtree(lake)
    return Outcome("growth", TITLE, _reached(found), _tables(found), _plots(found), (), _raw(found))


def _steps(days: int, rows: int) -> list[int]:
    """Sizes on the way to one, none more than a step from the one before."""
    steps = list(range(days * ROWS_A_DAY + _STEP, rows, _STEP))
    return [*steps, rows]


def _write_batches(context: Context) -> list[str]:
    history = History(1)
    files = []
    for number in range(max(_SILVER_BATCHES, context.size.history_rounds) + 1):
        file = context.folder / f"batch-{number}.parquet"
        bundled(history.batch(number, count=_BATCH)).write_parquet(file)
        files.append(str(file))
    return files


def _on_copy(context: Context, lake: Path, work: str, batches: Sequence[str]) -> Done:
    copy = copy_lake(lake, context.folder / "copy")
    try:
        asked = {"lake": str(copy), "batches": list(batches), "first": _FIRST_MESSAGE, "received": _RECEIVED.isoformat()}
        return run(work_command(work), asked)
    finally:
        shutil.rmtree(copy)


def _build_whole(context: Context, lake: Path) -> Done:
    copy = copy_lake(lake, context.folder / "copy")
    try:
        shutil.rmtree(copy / "gold")
        done = run(work_command("gold"), {"lake": str(copy), "received": _MIDNIGHT.isoformat()})
    finally:
        shutil.rmtree(copy)
    context.say(f"gold from nothing in {done.answer['seconds'][0]:.0f} s with {mib(done.peak_bytes)}")
    return done


def _reached(found: Sequence[Found]) -> list[Reached]:
    first, last = found[0], found[-1]
    span = f"{_millions(first.rows)} to {_millions(last.rows)} rows"
    silver = _growth(last.silver_seconds(), first.silver_seconds())
    gold = _growth(last.gold_seconds(), first.gold_seconds())
    return [
        Reached(
            f"micro-batch of {_BATCH:,} events into silver, {span}",
            f"at most {_SILVER_GOAL:g}x",
            silver.text(".2f", "x"),
            verdict(silver.median, at_most=_SILVER_GOAL),
        ),
        Reached(
            f"gold refresh after it, {span}", f"at most {_GOLD_GOAL:g}x", gold.text(".2f", "x"), verdict(gold.median, at_most=_GOLD_GOAL)
        ),
    ]


def _growth(last: Spread, first: Spread) -> Spread:
    """Ratio of the medians; least and greatest are of the extremes against the first median."""
    return Spread(last.median / first.median, last.least / first.median, last.greatest / first.median)


def _tables(found: Sequence[Found]) -> list[Table]:
    cost = [
        (
            _millions(each.rows),
            f"{each.days:,}",
            mib(each.bytes),
            each.silver_seconds().text(".2f", " s"),
            f"{Spread.of(each.silver.answer['silver_cpu_seconds']).median:.2f} s",
            mib(each.silver.peak_bytes),
            each.gold_seconds().text(".1f", " s"),
            each.model_seconds().text(".1f", " s"),
            f"{Spread.of(each.gold.answer['cpu_seconds'][1:]).median:.1f} s",
            mib(each.gold.peak_bytes),
        )
        for each in found
    ]
    columns = ("rows of silver", "days", "size", "micro-batch", "CPU", "peak", "gold refresh", "of it models", "CPU", "peak")
    note = (
        f"{ROWS_A_DAY:,} rows a day in deliveries, opens, clicks and bounces; a closed day is a file a table, sorted by time. A batch of {_BATCH:,} events touches 20 "
        f"jobs: the ten of its day, and the ten of the day before with {ROWS_A_DAY:,} events. The refresh is `dbt build` in a process of its own, tests included, "
        "as Dagster starts it."
    )
    return [Table(TITLE, columns, cost, note), _models(found), _builds(found)]


def _models(found: Sequence[Found]) -> Table:
    names = sorted({name for each in found for build in each.gold.answer["nodes"][1:] for name in build})
    rows = []
    for name in names:
        spreads = [Spread.of([build[name] for build in each.gold.answer["nodes"][1:] if name in build] or [0.0]) for each in found]
        rows.append((f"`{name}`", *(f"{spread.median:.1f} s" for spread in spreads)))
    rows.append(("tests", *(f"{Spread.of(each.gold.answer['tests'][1:]).median:.1f} s" for each in found)))
    return Table("Seconds of each model in a refresh", ("model", *(_millions(each.rows) for each in found)), rows)


def _builds(found: Sequence[Found]) -> Table:
    rows = []
    for each in found:
        seconds = [build.answer["seconds"][0] for build in each.builds]
        peak = max(build.peak_bytes for build in each.builds)
        whole = ("", "") if each.whole is None else (f"{each.whole.answer['seconds'][0]:,.0f} s", mib(each.whole.peak_bytes))
        rows.append((_millions(each.rows), str(len(each.builds)), f"{sum(seconds):,.0f} s", f"{max(seconds):,.0f} s", mib(peak), *whole))
    note = f"Each build takes in at most {_millions(_STEP)} rows that are new to it. From nothing is one build of all of it."
    columns = ("rows of silver", "builds", "together", "longest", "peak memory", "from nothing", "peak memory")
    return Table("Gold built up to each size", columns, rows, note)


def _plots(found: Sequence[Found]) -> list[Plot]:
    x = [each.rows for each in found]

    def curve(name: str, spreads: list[Spread]) -> Curve:
        return Curve(name, x, [each.median for each in spreads], [each.least for each in spreads], [each.greatest for each in spreads])

    silver = curve("silver", [each.silver_seconds() for each in found])
    gold = [curve("gold refresh", [each.gold_seconds() for each in found]), curve("of it models", [each.model_seconds() for each in found])]
    return [
        Plot("growth-silver", f"A micro-batch of {_BATCH:,} events", "rows of history", "seconds", [silver], log_x=True),
        Plot("growth-gold", "The gold refresh after it", "rows of history", "seconds", gold, log_x=True),
    ]


def _millions(rows: int) -> str:
    return f"{rows / 1e6:g} M"


def _raw(found: Sequence[Found]) -> dict[str, Any]:
    return {
        str(each.rows): {
            "silver": dict(each.silver.answer),
            "gold": dict(each.gold.answer),
            "builds": [dict(build.answer) for build in each.builds],
        }
        for each in found
    }
