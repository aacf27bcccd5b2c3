"""Shared output of all commands: consoles, progress bars, and the end of a failed command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mg_lakehouse._util.console import TextConsole
from mg_lakehouse._util.progress import Step, on_remark, on_step

if TYPE_CHECKING:  # Dagster takes seconds to import
    from mg_lakehouse.dagster.run_pass import PassResult

Wait = Annotated[
    float,
    typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for another active run of this Dagster instance."),
]
out = TextConsole()
err = TextConsole(stderr=True)

_STAGES = {"publish": "messages published", "bronze": "messages received", "silver": "events flattened", "gold": "models built"}


def conclude(result: PassResult) -> None:
    """Print failures and exit with status 1."""
    for failure in (*result.failures, *result.alarms):
        err.alarm("Failed", failure)
    if result.failures or result.alarms:
        raise typer.Exit(1)


@contextmanager
def progress_bars(stages: Mapping[str, str] = _STAGES) -> Iterator[None]:
    """Show announced steps as progress bars; ``stages`` has the unit of each stage."""
    columns = (
        SpinnerColumn("dots" if err.encoding.startswith("utf") else "line"),
        TextColumn("{task.fields[stage]:<8}", markup=False),
        TextColumn("{task.completed:>12,.0f} {task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        tasks = {stage: progress.add_task("", stage=stage, unit=unit, total=None) for stage, unit in stages.items()}

        def show(step: Step) -> None:
            progress.update(tasks[step.stage], completed=step.done, unit=step.unit)

        with on_step(show), on_remark(_say):
            yield


def _say(sentence: str) -> None:
    err.print(sentence, highlight=False, markup=False, soft_wrap=True)
