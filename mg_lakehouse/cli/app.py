"""The command line ``mg-lakehouse``.

Each command reads the settings, calls one function and prints its result. Our errors are one sentence on standard error and exit status 1.
A command's module is imported when the command is called (Click's ``LazyGroup``): importing all of them takes seconds.
"""

from __future__ import annotations

import errno
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
from mg_lakehouse.cli.streams import only_own_words, write_out_missing_characters
from mg_lakehouse.errors import LakehouseError

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("pipeline", "Drain the queue until it is empty, flatten, and build gold: one pass through Dagster, in this process."),
    "build": (
        "pipeline",
        "Flatten what bronze has and silver lacks, and build gold: a pass without the queue, which needs no MG_QUEUE_URL.",
    ),
    "status": ("lake", "Show rows, age and lag of every table, what was rejected, and what waits in the queue."),
    "reconcile": (
        "lake",
        "Balance queue, bronze, silver, rejected and duplicates, hour by hour, and say which hours that proves.",
    ),
    "maintain": (
        "lake",
        "Compact the tables, and remove replaced files, orphans of killed writers and old log entries.",
    ),
    "repair": (
        "lake",
        "Repair bronze after a power cut or a failing disk: set damaged commits aside and commit their data files again. Nothing is deleted.",
    ),
    "backfill": ("lake", "Rebuild days of silver from bronze, and report what changed. Gold follows with its next build."),
    "retry": (
        "lake",
        "Retry the messages that were set aside because they failed to flatten, and report what changed. Exit status 1 if some still fail.",
    ),
    "load": (
        "pipeline",
        "Load files of the feed: XML, CSV or JSON of messages, plain, gzip or zip. Skip what was loaded before. Then flatten and build gold.",
    ),
    "sql": ("query", "Query the lake in SQL: views bronze.*, silver.* and gold.*, read-only, and nothing outside the lake."),
    "dashboard": ("query", "Show jobs, bounces, the suppression list and the feed as a page that refreshes itself."),
    "catalog": ("lake", "Rebuild the catalogue of views, as each build of gold does, and views.sql beside it for your own DuckDB."),
    "docs": ("lake", "Write dbt's documentation of gold as one page: models, columns, tests, lineage."),
    "demo": ("demo_command", "Publish a generated feed to an embedded queue, run the pipeline on it, and show the result."),
    "dev": ("demo_command", "Open the Dagster UI on an embedded queue with a steady trickle: assets fill while you watch."),
    "suppressions": ("suppressions", "The addresses to send nothing more to."),
}
"""By name, each command's module and its line in the list of commands, which begins its docstring. In the order of the list."""


_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_PANIC: Final = "PanicException"
"""What a panic of Rust becomes in Polars and delta-rs. It is no Exception, and each library has its own."""

_PANIC_REMEDY: Final = (
    "a file of the lake may be damaged. `mg-lakehouse status` opens every table, and `mg-lakehouse backfill` compares silver with bronze."
)


class LazyGroup(TyperGroup):
    """A group that imports a command when it is called, and lists commands without importing them."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  Click's signature
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:  # noqa: ARG002
        """Return the command; while the commands are listed, a stub with only its line in the list."""
        if cmd_name not in COMMANDS:
            return None
        home, line = COMMANDS[cmd_name]
        return TyperCommand(cmd_name, help=line) if self._listing else _load(home, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the group's help."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def _load(home: str, name: str) -> TyperCommand | TyperGroup:
    target: Any = getattr(import_module(f"mg_lakehouse.cli.{home}"), name)
    if isinstance(target, typer.Typer):
        group = get_group(target)
        group.name = name
        return group
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(target)
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
    """Run a command: the entry point. Our own errors and usage errors are one sentence each."""
    _quiet_third_parties()
    write_out_missing_characters()
    with only_own_words():
        _run()


def _run() -> None:
    try:
        status = app(standalone_mode=False)
    except LakehouseError as error:
        err.alarm("Error", str(error))
        sys.exit(1)
    except TyperException as error:
        # The message names arguments. The shell expands `*` to file names, and one may begin with a dash.
        message = for_terminal(error.format_message())
        error.format_message = lambda: message  # type: ignore[method-assign]
        rich_format_error(error)  # type: ignore[arg-type]
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(1)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        err.alarm(
            "Error", f"The disk is full, or a limit on its files is reached ({error.filename or 'a temporary file'}): free some space."
        )
        sys.exit(1)
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        err.alarm(
            "Error",
            f"A library failed where it never should ({str(error).splitlines()[0][:300] if str(error) else _PANIC}): {_PANIC_REMEDY}",
        )
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
