"""What a goal's module hands over, and the JSON document of a run.

The shape is the same for every goal, so that the page is made of it without knowing any of them: what was
reached beside what was to be reached, tables, and curves for the plots.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

__all__ = ["Curve", "Outcome", "Plot", "Reached", "Table"]


@dataclass(frozen=True, slots=True)
class Reached:
    """A line of the table of goals. ``value`` is a text with its unit and spread; ``met`` is ``None`` where no goal is set."""

    what: str
    goal: str
    value: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page; the first column is text, the others may be numbers as text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a plot. ``low`` and ``high`` are the spread around ``y``, or empty."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: lines over ``x_label``, or bars where each curve has one point."""

    name: str
    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    kind: Literal["lines", "bars"] = "lines"
    log_x: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that one goal's module found. ``raw`` has the single samples, for whoever wants to reckon anew."""

    goal: str
    title: str
    reached: Sequence[Reached]
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    remarks: Sequence[str] = ()
    raw: dict[str, Any] = field(default_factory=dict)
    size: str = ""
    measured_at: str = ""
    machine: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write it as ``<goal>.<size>.json``, over an older one: a page must not mix two states of a goal."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.goal}.{self.size}.json"
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        return file

    @classmethod
    def read(cls, file: Path) -> Self:
        """An outcome as it was written."""
        found = json.loads(file.read_text())
        found["reached"] = [Reached(**each) for each in found["reached"]]
        found["tables"] = [Table(**each) for each in found["tables"]]
        found["plots"] = [Plot(**{**each, "curves": [Curve(**curve) for curve in each["curves"]]}) for each in found["plots"]]
        return cls(**found)


def now_text() -> str:
    """The time now, UTC, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
