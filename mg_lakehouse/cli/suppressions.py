"""The command ``suppressions export``: whom to send nothing more to."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mg_lakehouse._util.escaping import terminal_stream
from mg_lakehouse._util.signals import handling
from mg_lakehouse.cli.output import err
from mg_lakehouse.cli.tables import print_exported
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.suppression_filter import Channel, Format, Reason, Wanted
from mg_lakehouse.serving.suppressions import export_file, export_stream
from mg_lakehouse.settings import load_settings

suppressions = typer.Typer(help="Whom to send nothing more to.", no_args_is_help=True)
_MARKS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]


@suppressions.command("export")
@suppressions.command("export")
def export_suppressions(
    *,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="MARK",
            formats=_MARKS,
            help="Only what is new since the mark that the export before printed: by the time from which on the lake had the event and the address. "
            "A UTC date or time will do.",
        ),
    ] = None,
    evidence_since: Annotated[
        datetime | None,
        typer.Option(
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="Only what has a reason that is new since this UTC date, by the time of its event, whenever that came.",
        ),
    ] = None,
    removed_since: Annotated[
        datetime | None,
        typer.Option(
            metavar="MARK",
            formats=_MARKS,
            help="In place of the list, the addresses that left it since a mark, because their owners took back what stood against them.",
        ),
    ] = None,
    channel: Annotated[Channel | None, typer.Option(help="Only addresses of this channel.")] = None,
    reason: Annotated[Reason | None, typer.Option(help="Only addresses with this reason, whatever others they have.")] = None,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="File to write, for its owner's eyes only; by default standard output.")
    ] = None,
    file_format: Annotated[Format | None, typer.Option("--format", help="By default what the file's suffix says, else csv.")] = None,
) -> None:
    """Write the addresses that must get nothing more, with every reason, as CSV or Parquet, and the mark at which the next export begins."""
    if removed_since is not None and (since or evidence_since):
        raise typer.BadParameter("It writes another list: export that by itself.", param_hint="--removed-since")
    chosen = file_format or ("parquet" if output is not None and output.suffix == ".parquet" else "csv")
    if output is None and chosen == "parquet":
        raise typer.BadParameter("Parquet is nothing to look at: name a file with --output.", param_hint="--format")
    wanted = Wanted(_utc(since), None if evidence_since is None else evidence_since.date(), _utc(removed_since), channel, reason)
    lake = Lake(load_settings().lake_uri)
    with handling(signal.default_int_handler, signal.SIGTERM):  # a draft that holds addresses does not stay
        if output is not None:
            exported = export_file(lake, wanted, output, chosen)
        else:
            with open(sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False) as stream:
                exported = export_stream(lake, wanted, terminal_stream(stream))
    print_exported(err, exported, wanted, output)


def _utc(at: datetime | None) -> datetime | None:
    """A time that was given, as UTC where it has no offset."""
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
