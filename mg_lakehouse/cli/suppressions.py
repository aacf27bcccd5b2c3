"""The command ``suppressions export``: the addresses to send nothing more to."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mg_lakehouse._util.signals import handling
from mg_lakehouse.cli.output import err
from mg_lakehouse.cli.streams import rows_stream
from mg_lakehouse.cli.tables import print_exported
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.suppression_filter import Channel, Format, Reason, Wanted
from mg_lakehouse.serving.suppressions import export_file, export_stream
from mg_lakehouse.settings import load_settings

suppressions = typer.Typer(help="The addresses to send nothing more to.", no_args_is_help=True)
_MARKS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]


@suppressions.command("export")
def export_suppressions(
    *,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="MARK",
            formats=_MARKS,
            help="Only entries that are new since the mark printed by the previous export: by the time from which the lake had event and address. "
            "A UTC date or time works too.",
        ),
    ] = None,
    evidence_since: Annotated[
        datetime | None,
        typer.Option(
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="Only entries with a new reason since this UTC date, by the time of its event, whenever that arrived.",
        ),
    ] = None,
    removed_since: Annotated[
        datetime | None,
        typer.Option(
            metavar="MARK",
            formats=_MARKS,
            help="Instead of the list, the addresses that left it since a mark, because their owners withdrew the reasons.",
        ),
    ] = None,
    channel: Annotated[Channel | None, typer.Option(help="Only addresses of this channel.")] = None,
    reason: Annotated[Reason | None, typer.Option(help="Only addresses with this reason, whatever others they have.")] = None,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="File to write, readable by its owner only; by default standard output.")
    ] = None,
    file_format: Annotated[Format | None, typer.Option("--format", help="By default taken from the file's suffix, else csv.")] = None,
) -> None:
    """Write the addresses that must get nothing more, with every reason, as CSV or Parquet, and the mark at which the next export begins."""
    if removed_since is not None and (since or evidence_since):
        raise typer.BadParameter("It writes another list: use it without --since and --evidence-since.", param_hint="--removed-since")
    chosen = file_format or ("parquet" if output is not None and output.suffix == ".parquet" else "csv")
    if output is None and chosen == "parquet":
        raise typer.BadParameter("Parquet cannot go to standard output: name a file with --output.", param_hint="--format")
    filters = Wanted(_utc(since), None if evidence_since is None else evidence_since.date(), _utc(removed_since), channel, reason)
    lake = Lake(load_settings().lake_uri)
    with handling(signal.default_int_handler, signal.SIGTERM):  # so that SIGTERM leaves no draft that holds addresses
        if output is not None:
            exported = export_file(lake, filters, output, chosen)
        else:
            with rows_stream() as stream:
                exported = export_stream(lake, filters, stream)
    print_exported(err, exported, filters, output)


def _utc(at: datetime | None) -> datetime | None:
    """Return a given time, as UTC if it has no offset."""
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
