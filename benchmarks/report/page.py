"""``docs/performance.md`` of the result documents: goals and what was reached, then each goal with its tables, plots and notes.

What is told in words stands in ``notes/<goal>.md``, written by hand: what was tried, and why a goal is not reached. The page says of each
goal on which commit, machine and day it was measured; the document of the largest size counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.goals import GOALS
from benchmarks.goals.context import SIZES
from benchmarks.harness.outcome import Outcome
from benchmarks.report.plots import draw

__all__ = ["write_page"]

_NOTES: Final = Path(__file__).parent / "notes"
_MARKS: Final = {True: "yes", False: "**no**", None: ""}
_MADE: Final = "<!-- Made by `python -m benchmarks render`; the words are in benchmarks/report/notes. -->"


def write_page(results: Path, docs: Path) -> Path:
    """Write the page and its plots; returns the page.

    Raises:
        FileNotFoundError: there is no result document.
    """
    outcomes = list(_largest(results))
    if not outcomes:
        raise FileNotFoundError(f"There are no results in {results}: run `make bench` first.")
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    parts = [_MADE, "# Performance", _note("intro"), _goals(outcomes), _machine(outcomes)]
    for outcome in outcomes:
        parts += _section(outcome, images)
    page = docs / "performance.md"
    page.write_text("\n\n".join(part.strip() for part in parts if part.strip()) + "\n")
    return page


def _largest(results: Path) -> Iterator[Outcome]:
    """The outcome of the largest size of each goal, in the order of the goals."""
    sizes: list[str] = list(SIZES)
    for goal in GOALS:
        files = sorted(results.glob(f"{goal}.*.json"), key=lambda file: sizes.index(file.name.split(".")[1]))
        if files:
            yield Outcome.read(files[-1])


def _note(name: str) -> str:
    file = _NOTES / f"{name}.md"
    return file.read_text() if file.exists() else ""


def _goals(outcomes: Sequence[Outcome]) -> str:
    rows = [(each.what, each.goal, each.value, _MARKS[each.met]) for outcome in outcomes for each in outcome.reached]
    return "## Goals\n\n" + _table(("what", "goal", "reached", "within it"), rows)


def _machine(outcomes: Sequence[Outcome]) -> str:
    """The machine, once where all were measured on one, and when each was measured."""
    lines = ["## The machine", ""]
    described = {_described(outcome.machine): outcome.machine for outcome in outcomes}
    lines += [f"- {text}" for text in described]
    versions = outcomes[-1].machine.get("versions", {})
    lines += ["- " + ", ".join(f"{name} {version}" for name, version in versions.items()), ""]
    rows = [
        (
            outcome.title,
            outcome.size,
            outcome.measured_at,
            str(outcome.machine.get("commit", "")),
            f"{outcome.machine.get('load_before', 0):g}",
            f"{counting:g} s" if (counting := outcome.machine.get("counting_seconds")) else "",
        )
        for outcome in outcomes
    ]
    return "\n".join(lines) + "\n" + _table(("measured", "size", "when", "commit", "load before", "Python counts to 10 M"), rows)


def _described(machine: dict[str, Any]) -> str:
    memory = machine.get("memory_bytes", 0) / 2**30
    return f"{machine.get('cpu')}, {machine.get('cores')} cores, {memory:.0f} GiB, {machine.get('system')}, Python {machine.get('python')}"


def _section(outcome: Outcome, images: Path) -> Iterator[str]:
    yield f"## {outcome.title}"
    for plot in outcome.plots:
        file = images / f"performance-{plot.name}.svg"
        draw(plot, file)
        yield f"![{plot.title}](images/{file.name})"
    for table in outcome.tables:
        if table.title != outcome.title:
            yield f"### {table.title}"
        yield _table(table.columns, table.rows)
        yield table.note
    yield "\n".join(f"- {remark}" for remark in outcome.remarks)
    yield _note(outcome.goal)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "|".join("---" if index == 0 else "---:" for index in range(len(columns))) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)])
