"""How growth is told: the lines of the goals, tables and plots of what was found at each size of history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.data.history import ROWS_A_DAY
from benchmarks.goals.tables import mib, verdict
from benchmarks.harness.compare import Spread
from benchmarks.harness.outcome import Curve, Plot, Reached, Table
from benchmarks.harness.processes import Done

__all__ = ["BATCH", "TITLE", "Found", "plots", "reached", "tables"]

TITLE: Final = "The cost of a micro-batch against history"
BATCH: Final = 10_000
"""Events in a micro-batch."""

_SILVER_GOAL: Final = 1.25
_GOLD_GOAL: Final = 1.5


@dataclass(frozen=True, slots=True)
class Found:
    """What was found at one size of history.

    ``gold`` are refreshes and ``built`` is the build that brought gold up to the size, where gold was built; ``whole`` is one from nothing, ``tail`` a
    refresh after a batch with a tail. These two only where they fit: both grow with history by their nature.
    """

    rows: int
    days: int
    bytes: int
    silver: Done
    gold: Done | None = None
    built: Done | None = None
    whole: Done | None = None
    tail: Done | None = None

    def silver_seconds(self) -> Spread:
        """Of a micro-batch."""
        return Spread.of(self.silver.answer["silver_seconds"])

    def of_refreshes(self, what: str) -> list[Any]:
        """What each refresh took of ``what``; the first one warms the disk's cache and does not count. None where there is no gold."""
        return [] if self.gold is None else list(self.gold.answer[what][1:])


def reached(found: Sequence[Found]) -> list[Reached]:
    """The lines of the goals: the largest history against the smallest, for gold the largest that has gold."""
    with_gold = [each for each in found if each.gold is not None]
    silver = _growth([each.silver_seconds() for each in found])
    gold = _growth([Spread.of(each.of_refreshes("seconds")) for each in with_gold])
    return [
        Reached(
            f"micro-batch of {BATCH:,} events into silver, {_span(found)}",
            f"at most {_SILVER_GOAL:g}x",
            silver.text(".2f", "x"),
            verdict(silver.median, at_most=_SILVER_GOAL),
        ),
        Reached(
            f"gold refresh after it, {_span(with_gold)}",
            f"at most {_GOLD_GOAL:g}x",
            gold.text(".2f", "x"),
            verdict(gold.median, at_most=_GOLD_GOAL),
        ),
    ]


def _span(found: Sequence[Found]) -> str:
    return f"{millions(found[0].rows)} to {millions(found[-1].rows)} rows"


def _growth(spreads: Sequence[Spread]) -> Spread:
    """Ratio of the medians; least and greatest are of the extremes against the first median."""
    first, last = spreads[0], spreads[-1]
    return Spread(last.median / first.median, last.least / first.median, last.greatest / first.median)


def tables(found: Sequence[Found], tailed_jobs: int) -> list[Table]:
    """What each size cost, model by model, and how gold came to it; ``tailed_jobs`` is how many jobs the batch with a tail touches."""
    cost = [
        (
            millions(each.rows),
            f"{each.days:,}",
            mib(each.bytes),
            each.silver_seconds().text(".2f", " s"),
            f"{Spread.of(each.silver.answer['silver_cpu_seconds']).median:.2f} s",
            mib(each.silver.peak_bytes),
            *(_seconds(each.of_refreshes(what)) for what in ("seconds", "models")),
            *(
                [""] * 2
                if each.gold is None
                else [f"{Spread.of(each.of_refreshes('cpu_seconds')).median:.1f} s", mib(each.gold.peak_bytes)]
            ),
        )
        for each in found
    ]
    columns = ("rows of silver", "days", "size", "micro-batch", "CPU", "peak", "gold refresh", "of it models", "CPU", "peak")
    note = (
        f"{ROWS_A_DAY:,} rows a day in deliveries, opens, clicks and bounces; a closed day is a file a table, sorted by time. A batch of {BATCH:,} events touches 20 "
        f"jobs: the ten of its day, and the ten of the day before with {ROWS_A_DAY:,} events. The refresh is `dbt build` in a process of its own, tests included, "
        "as Dagster starts it."
    )
    return [Table(TITLE, columns, cost, note), _models(found), _builds(found, tailed_jobs)]


def _seconds(each: Sequence[float]) -> str:
    return Spread.of(list(each)).text(".1f", " s") if each else ""


def _models(found: Sequence[Found]) -> Table:
    sizes = [each for each in found if each.gold is not None]
    names = sorted({name for each in sizes for build in each.of_refreshes("nodes") for name in build})
    rows = []
    for name in names:
        spreads = [Spread.of([build[name] for build in each.of_refreshes("nodes") if name in build] or [0.0]) for each in sizes]
        rows.append((f"`{name}`", *(f"{spread.median:.1f} s" for spread in spreads)))
    rows.append(("tests", *(f"{Spread.of(each.of_refreshes('tests')).median:.1f} s" for each in sizes)))
    return Table("Seconds of each model in a refresh", ("model", *(millions(each.rows) for each in sizes)), rows)


def _builds(found: Sequence[Found], tailed_jobs: int) -> Table:
    built = [each for each in found if each.built is not None]
    behind = [0, *(each.rows for each in built)]
    rows = [
        (
            millions(each.rows),
            millions(each.rows - before),
            *(cell for done in (each.built, each.whole, each.tail) for cell in _seconds_and_peak(done)),
        )
        for before, each in zip(behind, built, strict=False)
    ]
    note = (
        f"A build takes in all rows that are new to it. From nothing is one build of all of them. A tail is a batch of {BATCH:,} events that touches "
        f"{tailed_jobs:,} jobs of up to a year ago: the longer the history, the more of their rows it has, so that this cost grows by its nature. Both are left out where they take long."
    )
    columns = ("rows of silver", "new to gold", "build", "peak", "from nothing", "peak", "refresh after a tail", "peak")
    return Table("Gold built up to each size", columns, rows, note)


def _seconds_and_peak(done: Done | None) -> tuple[str, str]:
    return ("", "") if done is None else (f"{done.answer['seconds'][0]:,.0f} s", mib(done.peak_bytes))


def plots(found: Sequence[Found]) -> list[Plot]:
    """The curves of silver and of gold."""
    with_gold = [each for each in found if each.gold is not None]

    def curve(name: str, sizes: Sequence[Found], spreads: list[Spread]) -> Curve:
        x = [each.rows for each in sizes]
        return Curve(name, x, [each.median for each in spreads], [each.least for each in spreads], [each.greatest for each in spreads])

    silver = curve("silver", found, [each.silver_seconds() for each in found])
    gold = [
        curve(name, with_gold, [Spread.of(each.of_refreshes(what)) for each in with_gold])
        for name, what in (("gold refresh", "seconds"), ("of it models", "models"))
    ]
    return [
        Plot("growth-silver", f"A micro-batch of {BATCH:,} events", "rows of history", "seconds", [silver], log_x=True),
        Plot("growth-gold", "The gold refresh after it", "rows of history", "seconds", gold, log_x=True),
    ]


def millions(rows: int) -> str:
    return f"{rows / 1e6:g} M"
