"""Plots of the outcomes as SVG, the same bytes for the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from cycler import cycler

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

from benchmarks.harness.outcome import Plot

__all__ = ["draw"]

_STYLE: Final[Any] = {
    "svg.hashsalt": "mg-lakehouse",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=["#1f6feb", "#d1690e", "#2da44e", "#8250df"]),
    "figure.constrained_layout.use": True,
}
_OURS: Final = "#1f6feb"
_LIMIT: Final = "#c9d1d9"
_OTHERS: Final = "#d1690e"


def draw(plot: Plot, file: Path) -> None:
    """Draw a plot into a file."""
    with mpl.rc_context(_STYLE):
        height = 0.42 * len(plot.curves) + 1.0 if plot.kind == "bars" else 3.4
        figure, axes = plt.subplots(figsize=(7.6, height))
        (_bars if plot.kind == "bars" else _lines)(axes, plot)
        axes.set_title(plot.title, loc="left", fontsize=11)
        figure.savefig(file, metadata={"Date": None, "Creator": None})
        plt.close(figure)
    # An end of line at the end of each line, and no blanks before it, as in every other file.
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")


def _bars(axes: Any, plot: Plot) -> None:
    names = [curve.name for curve in plot.curves]
    values = [curve.y[0] for curve in plot.curves]
    spread = [_spread(curve.y[0], curve.low, curve.high) for curve in plot.curves]
    bars = axes.barh(
        names, values, xerr=list(zip(*spread, strict=True)), color=[_colour(name) for name in names], ecolor="#57606a", height=0.7
    )
    axes.bar_label(bars, [f"{value:,.0f}" if value >= 100 else f"{value:.2f}" for value in values], padding=6)
    axes.invert_yaxis()
    axes.set_xlabel(plot.y_label)
    axes.xaxis.set_major_formatter(FuncFormatter(_number))
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.14)


def _lines(axes: Any, plot: Plot) -> None:
    for curve in plot.curves:
        (line,) = axes.plot(curve.x, curve.y, marker="o" if plot.log_x else "", markersize=4, label=curve.name)
        if curve.low:
            axes.fill_between(curve.x, curve.low, curve.high, alpha=0.2, color=line.get_color(), linewidth=0)
    if plot.log_x:
        axes.set_xscale("log")
        points = sorted({x for curve in plot.curves for x in curve.x})
        axes.set_xticks(points, [_number(point, 0) for point in points], minor=False)
        axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    if len(plot.curves) > 1:
        axes.legend(frameon=False, fontsize=9)


def _spread(middle: float, low: Any, high: Any) -> tuple[float, float]:
    return (middle - low[0], high[0] - middle) if low else (0.0, 0.0)


def _colour(name: str) -> str:
    if name.startswith("limit"):
        return _LIMIT
    return _OTHERS if name.startswith("(") else _OURS


def _number(value: float, _: float) -> str:
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
