"""The commands ``demo`` and ``dev``: a lakehouse to try without an account."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mg_lakehouse.cli.demo import print_demo, run_demo
from mg_lakehouse.cli.dev import dagster_home, run_dev
from mg_lakehouse.cli.output import conclude, out, progress_bars
from mg_lakehouse.settings import load_settings


def demo(
    events: Annotated[int, typer.Option(min=1, help="Events to generate.")] = 20_000,
    seed: Annotated[int | None, typer.Option(help="Seed of the generated feed; by default a new one each time.")] = None,
) -> None:
    """Publish a generated feed to an embedded queue, run the pipeline on it, and show the result."""
    settings = load_settings()
    if os.environ.get("DAGSTER_HOME"):
        dagster_home()
    with progress_bars():
        outcome = run_demo(events=events, seed=seed)
    print_demo(out, settings, outcome)
    conclude(outcome.result)


def dev(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the Dagster UI, on 127.0.0.1.")] = 3000,
    bundles_a_minute: Annotated[float, typer.Option(min=0.1, help="Messages that trickle into the embedded queue.")] = 30.0,
) -> None:
    """Open the Dagster UI on an embedded queue with a steady trickle: assets fill while you watch."""
    run_dev(load_settings(), out, port=port, bundles_a_minute=bundles_a_minute)
