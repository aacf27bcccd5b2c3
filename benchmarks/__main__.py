"""``python -m benchmarks``: run goals, make the peers' environments, render the page."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.goals import GOALS
from benchmarks.goals.context import SIZES, Context
from benchmarks.harness.machine import describe
from benchmarks.harness.outcome import Outcome, now_text
from benchmarks.harness.peers import install
from benchmarks.harness.processes import ROOT, WorkFailedError
from mg_lakehouse._util.signals import handling

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

RESULTS = ROOT / "benchmarks" / "results"
CACHE = ROOT / ".bench"


@app.command()
def run(
    goals: Annotated[list[str] | None, typer.Argument(help=f"Which goals: {', '.join(GOALS)}; all by default.")] = None,
    size: Annotated[str, typer.Option(help=f"How much to measure: {', '.join(SIZES)}.")] = "standard",
    results: Annotated[Path, typer.Option(help="Folder of the result documents.")] = RESULTS,
    keep: Annotated[Path | None, typer.Option(help="Folder in which the lakes of `growth` stay, for the next run to take.")] = None,
) -> None:
    """Measure goals, one after the other, and write a document for each. One that fails is told, and the others are measured."""
    wanted = goals or list(GOALS)
    if unknown := sorted(set(wanted) - set(GOALS)) or ([] if size in SIZES else [size]):
        raise typer.BadParameter(f"There is no {', '.join(unknown)}: goals are {', '.join(GOALS)}; sizes are {', '.join(SIZES)}.")
    failed = []
    for goal in wanted:
        try:
            outcome = measure(goal, size, keep)
        except WorkFailedError as error:
            typer.echo(f"  {goal} failed: {error}", err=True)
            failed.append(goal)
            continue
        for reached in outcome.reached:
            mark = {True: "reached", False: "NOT REACHED", None: ""}[reached.met]
            typer.echo(f"  {reached.what}: {reached.value} (goal: {reached.goal}) {mark}")
        typer.echo(f"  -> {outcome.write(results).name}")
    if failed:
        raise typer.Exit(1)


def measure(goal: str, size: Any, keep: Path | None = None) -> Outcome:
    """Measure one goal in a folder of its own, which is gone afterwards; ``keep`` stays."""
    machine = describe()
    began = time.monotonic()
    CACHE.mkdir(exist_ok=True)
    # Ended by SIGTERM as by Ctrl-C: what was started ends too, and the folder, which may hold gigabytes, goes.
    with handling(signal.default_int_handler, signal.SIGTERM), tempfile.TemporaryDirectory(prefix=f"{goal}-", dir=CACHE) as folder:
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
        context = Context(
            size,
            Path(folder),
            CACHE,
            keep or Path(folder),
            lambda text: typer.echo(f"  [{time.monotonic() - began:6.1f} s] {goal}: {text}"),
        )
        outcome: Outcome = import_module(f"benchmarks.goals.{goal}").measure(context)
    return replace(
        outcome,
        size=size,
        measured_at=now_text(),
        machine={**machine, "commit": _commit(), "took_seconds": round(time.monotonic() - began)},
    )


@app.command()
def peers() -> None:
    """Make the environments of dlt and Spark from their pinned lists."""
    for environment in ("dlt", "spark"):
        install(environment)


@app.command()
def render(
    results: Annotated[Path, typer.Option(help="Folder of the result documents.")] = RESULTS,
    docs: Annotated[Path, typer.Option(help="Folder of the page.")] = ROOT / "docs",
) -> None:
    """Make ``performance.md`` and its plots of the result documents."""
    from benchmarks.report.page import write_page  # matplotlib takes a second

    typer.echo(write_page(results, docs))


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    app()
