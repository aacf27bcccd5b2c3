"""The command line ``mg-lakehouse``.

Each command reads the settings, calls one function and prints what it gave; errors of ours are one sentence on
standard error and exit status 1. A command's module is imported when it is called (Click's ``LazyGroup``): importing all
takes seconds, which every call would pay.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command, get_group
from typer.rich_utils import rich_format_error

from mg_lakehouse._util.escaping import for_terminal
from mg_lakehouse._version import __version__
from mg_lakehouse.cli.output import err, out
from mg_lakehouse.errors import LakehouseError

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("pipeline", "Drain the queue until it is empty, flatten, and build gold: one pass through Dagster, in this process."),
    "status": ("lake", "Show rows, age and lag of every table, what was rejected, and what waits in the queue."),
    "reconcile": (
        "lake",
        "Add up what the queue gave, bronze, silver, rejected and duplicates, hour by hour, and say which hours that proves.",
    ),
    "maintain": (
        "lake",
        "Compact the tables and remove what nobody needs any more: replaced files, orphans of killed writers, old log entries.",
    ),
    "repair": (
        "lake",
        "Repair bronze after a power cut or a failing disk: damaged commits are set aside, their data files taken in again. Nothing is deleted.",
    ),
    "backfill": ("lake", "Make days of silver anew from bronze, and say what changed. Gold follows with its next build."),
    "retry": (
        "lake",
        "Flatten again the messages that were set aside because flattening them failed, and say what changed. Exit status 1 where some fail still.",
    ),
    "load": (
        "pipeline",
        "Load files of the feed: XML or CSV, plain, gzip or zip. What was loaded before is passed over. Then flatten and build gold.",
    ),
    "sql": ("query", "Ask the lake in SQL: views bronze.*, silver.* and gold.*, read-only, and nothing outside of the lake."),
    "dashboard": ("query", "Show jobs, bounces, the suppression list and the feed as a page that refreshes itself."),
    "catalog": ("lake", "Make the catalogue of views anew, as each build of gold does, and views.sql beside it for a DuckDB of your own."),
    "docs": ("lake", "Write dbt's documentation of gold as one page: models, columns, tests, lineage."),
    "demo": ("demo_command", "Publish a generated feed to an embedded queue, run the pipeline on it, and show what came out."),
    "dev": ("demo_command", "Open the Dagster UI on an embedded queue with a steady trickle: assets fill while you watch."),
    "suppressions": ("suppressions", "Whom to send nothing more to."),
}
"""By name, the module of each command and what the list of commands says of it, which is how its docstring begins. In the order of the list."""


class LazyGroup(TyperGroup):
    """Commands that are imported when they are called, and listed without."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  Click's signature
        """Names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:  # noqa: ARG002
        """The command; while they are listed, one that has nothing but the line of the list."""
        if cmd_name not in COMMANDS:
            return None
        home, line = COMMANDS[cmd_name]
        return TyperCommand(cmd_name, help=line) if self._listing else _load(home, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the group."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def _load(home: str, name: str) -> TyperCommand | TyperGroup:
    found: Any = getattr(import_module(f"mg_lakehouse.cli.{home}"), name)
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(found)
    command = get_command(single)
    assert isinstance(command, TyperCommand)
    return command


app = typer.Typer(
    name="mg-lakehouse",
    cls=LazyGroup,
    help="Turn the MessageGears event feed into a lakehouse: SQS to bronze to silver to gold.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point: run a command; an error that we raised on purpose is one sentence, and so is wrong use."""
    _quiet_third_parties()
    try:
        status = app(standalone_mode=False)
    except LakehouseError as error:
        err.alarm("Error", str(error))
        sys.exit(1)
    except TyperException as error:
        # It names arguments, and a `*` of the shell makes arguments of files' names, of which one may begin with a dash.
        said = for_terminal(error.format_message())
        error.format_message = lambda: said  # type: ignore[method-assign]
        rich_format_error(error)  # type: ignore[arg-type]
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(1)
    sys.exit(status or 0)


def _quiet_third_parties() -> None:
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    warnings.filterwarnings("ignore", module="dagster.*")
    logging.getLogger("dagster").setLevel(logging.CRITICAL)


def _version(value: bool) -> None:
    if value:
        out.print(f"mg-lakehouse {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _show: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Options of every command."""
