"""Tables that several goals have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.harness.compare import Measured, ratios
from benchmarks.harness.memory import thinned
from benchmarks.harness.outcome import Curve, Plot, Table
from benchmarks.harness.processes import Done

__all__ = ["bars", "memory_plot", "mib", "rate_table", "verdict"]


def mib(number: float) -> str:
    """Bytes as MiB."""
    return f"{number / 2**20:,.0f} MiB"


def verdict(value: float, *, at_least: float | None = None, at_most: float | None = None) -> bool:
    """Whether a number is within its goal."""
    return (at_least is None or value >= at_least) and (at_most is None or value <= at_most)


def rate_table(title: str, ours: Measured, others: Sequence[Measured], *, note: str = "") -> Table:
    """Events a second, cores, memory and the ratio to ours of each contender."""
    rows = []
    for each in (ours, *others):
        rates = each.rates
        cores = "" if each.cores is None else f"{each.cores:.1f}"
        ratio = "" if each is ours else ratios(each, ours).text(".2f", "x")
        spread = f"{rates.least:,.0f} to {rates.greatest:,.0f}"
        rows.append((each.name, f"{rates.median:,.0f}", spread, cores, mib(each.peak_bytes), ratio, str(len(each.seconds))))
    columns = ("", "events/s, median", "least to greatest", "cores", "peak memory", "times our time", "rounds")
    return Table(title, columns, rows, note)


def bars(name: str, title: str, contenders: Sequence[Measured]) -> Plot:
    """Events a second of each contender as bars."""
    curves = [Curve(each.name, [0], [each.rates.median], [each.rates.least], [each.rates.greatest]) for each in contenders]
    return Plot(name, title, "", "events a second", curves, kind="bars")


def memory_plot(name: str, title: str, runs: Mapping[str, Done]) -> Plot:
    """Memory over time of each run, by its name."""
    curves = []
    for run, done in runs.items():
        points = thinned(list(done.memory))
        curves.append(Curve(run, [point.seconds for point in points], [point.bytes / 2**20 for point in points]))
    return Plot(name, title, "seconds", "MiB", curves)
