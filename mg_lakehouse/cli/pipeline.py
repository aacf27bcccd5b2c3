"""The commands that run the pipeline: ``run``, ``build``, ``load``. They import Dagster when they run: it takes seconds, and ``--help`` does not need it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mg_lakehouse._util.progress import Step, report_step
from mg_lakehouse.bronze.loaded_files import load_files
from mg_lakehouse.cli.output import Wait, conclude, out, progress_bars
from mg_lakehouse.cli.tables import print_loaded, print_pass
from mg_lakehouse.dagster.interrupts import interrupt_as_error
from mg_lakehouse.events.formats.csv import known_type
from mg_lakehouse.events.formats.encodings import known_encoding
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.modes import closed_modes
from mg_lakehouse.settings import load_settings


def run(
    max_messages: Annotated[int | None, typer.Option(min=1, help="Receive no more messages than this.")] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0.1, help="Receive no longer than this, in seconds.")] = None,
    wait: Wait = 300.0,
) -> None:
    """Drain the queue until it is empty, flatten, and build gold: one pass through Dagster, in this process."""
    from mg_lakehouse.dagster.run_pass import run_once  # noqa: PLC0415

    settings = load_settings()
    with progress_bars():
        result = run_once(settings, max_messages=max_messages, max_seconds=max_seconds, wait_seconds=wait)
    print_pass(out, result)
    conclude(result)


def build(wait: Wait = 300.0) -> None:
    """Flatten what bronze has and silver lacks, and build gold: a pass without the queue, which needs no MG_QUEUE_URL."""
    from mg_lakehouse.dagster.run_pass import flatten_and_build  # noqa: PLC0415

    settings = load_settings()
    with progress_bars():
        result = flatten_and_build(settings, wait_seconds=wait)
    print_pass(out, result)
    conclude(result)


def load(
    files: Annotated[list[Path], typer.Argument(help="Files, or - for standard input.", dir_okay=False, allow_dash=True)],
    activity: Annotated[
        str | None, typer.Option("--type", help="Type of the rows of a CSV file that does not name it, such as opens or CLICKS.")
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            help="Encoding of files that are not UTF-8 and do not say so, such as windows-1252. utf-8: keep other bytes as windows-1252."
        ),
    ] = None,
    bronze_only: Annotated[bool, typer.Option("--bronze-only", help="Do not flatten and do not build gold yet.")] = False,
    wait: Wait = 300.0,
) -> None:
    """Load files of the feed: XML, CSV or JSON of messages, plain, gzip or zip. Skip what was loaded before. Then flatten and build gold."""
    from mg_lakehouse.dagster.run_pass import flatten_and_build  # noqa: PLC0415

    element = None if activity is None else known_type(activity)
    if activity is not None and element is None:
        raise typer.BadParameter(f"{activity} is not an activity type of the feed.", param_hint="--type")
    codec = None if encoding is None else known_encoding(encoding)
    if encoding is not None and codec is None:
        raise typer.BadParameter(f"{encoding} is not an encoding of text: use a name such as windows-1252.", param_hint="--encoding")
    settings = load_settings()
    lake = Lake(settings.lake_uri)
    with progress_bars({"load": "items loaded"}), interrupt_as_error(), closed_modes(lake, settings.lake_umask):
        loaded = list(
            load_files(
                lake,
                settings,
                [sys.stdin.buffer if str(file) == "-" else file for file in files],
                activity=element,
                encoding=codec,
                progress=lambda items: report_step(Step("load", items, "items loaded")),
            )
        )
    print_loaded(out, loaded)
    # Files that were there before too: the load that brought them may have ended before silver or gold had them.
    if not bronze_only and any(file.failure is None for file in loaded):
        with progress_bars():
            result = flatten_and_build(settings, wait_seconds=wait)
        print_pass(out, result)
        conclude(result)
    if any(file.failure for file in loaded):
        raise typer.Exit(1)
