"""What all commands print with: consoles, progress bars, and how one that failed ends."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mg_lakehouse._util.console import TextConsole
from mg_lakehouse._util.progress import Step, hearing, listening
from mg_lakehouse.errors import LakehouseError

if TYPE_CHECKING:  # Dagster takes seconds to import
    from mg_lakehouse.dagster.run_pass import PassResult

Wait = Annotated[
    float,
    typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for another run of this Dagster instance that is at work."),
]
out = TextConsole()
err = TextConsole(stderr=True)

_STAGES = {"publish": "messages published", "bronze": "messages received", "silver": "events flattened", "gold": "models built"}


def conclude(result: PassResult, log: Path) -> None:
    """Print what failed and end with status 1. The log stays only where it can help."""
    for failure in (*result.failures, *result.alarms):
        err.alarm("Failed", failure)
    if result.failures and log.stat().st_size:
        err.print(f"What dbt said is in {log}.", highlight=False, soft_wrap=True)
    else:
        log.unlink()
    if result.failures or result.alarms:
        raise typer.Exit(1)


@contextmanager
def output_aside() -> Iterator[Path]:
    """Have what the steps print, dbt above all, written to a file of its own; :func:`conclude` decides whether it stays."""
    descriptor, name = tempfile.mkstemp(prefix="mg-lakehouse-", suffix=".log")
    log = Path(name)
    try:
        with os.fdopen(descriptor, "w") as output, redirect_stdout(output):
            yield log
    except LakehouseError:
        log.unlink()
        raise


@contextmanager
def progress_bars(stages: Mapping[str, str] = _STAGES) -> Iterator[None]:
    """Show the steps that are announced, as they come; ``stages`` has the unit of each."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[stage]:<8}", markup=False),
        TextColumn("{task.completed:>12,.0f} {task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        tasks = {stage: progress.add_task("", stage=stage, unit=unit, total=None) for stage, unit in stages.items()}

        def show(step: Step) -> None:
            progress.update(tasks[step.stage], completed=step.done, unit=step.unit)

        with listening(show), hearing(_say):
            yield


def _say(sentence: str) -> None:
    err.print(sentence, highlight=False, markup=False, soft_wrap=True)
