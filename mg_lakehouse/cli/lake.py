"""The commands about the lake: ``status``, ``reconcile``, ``backfill``, ``retry``, ``maintain``, ``repair``, ``catalog``, ``docs``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from mg_lakehouse._util.progress import Step, report_step
from mg_lakehouse.audit.hourly_balance import balance_hours_of_sources
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.cli.output import err, out, progress_bars
from mg_lakehouse.cli.tables import print_hourly_balance, print_maintenance, print_rebuilt, print_repairs, print_status
from mg_lakehouse.dagster.interrupts import interrupt_as_error
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.events.catalogue import SET_ASIDE
from mg_lakehouse.gold.project import generate_docs
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.modes import closed_modes
from mg_lakehouse.lake.rows_out import draft
from mg_lakehouse.maintenance.repair import planned_repair
from mg_lakehouse.maintenance.repair import repair as mend
from mg_lakehouse.maintenance.run import maintain as upkeep
from mg_lakehouse.serving.catalog_file import catalog_file
from mg_lakehouse.serving.status import read_status
from mg_lakehouse.serving.views import build_catalog, shown_tables, snapshot_statements
from mg_lakehouse.settings import Settings, load_settings
from mg_lakehouse.silver.rebuild import rebuild, requested_days
from mg_lakehouse.silver.set_aside import count_set_aside, set_aside_days, set_aside_message


def status() -> None:
    """Show rows, age and lag of every table, what was rejected, and what waits in the queue."""
    print_status(out, read_status(load_settings()))


def reconcile(
    hours: Annotated[
        int | None,
        typer.Option(
            min=1, max=24 * 30, help="How many hours back, this one included. By default 24, or as many of them as the logs still cover."
        ),
    ] = None,
) -> None:
    """Balance queue, bronze, silver, rejected and duplicates, hour by hour, and say which hours that proves.

    Exit status 1 if an hour does not balance, if silver has rows of messages that bronze lacks, or if --hours asks for more than can be proved.
    """
    now = datetime.now(UTC)
    balance = balance_hours_of_sources(Lake(load_settings().lake_uri), now - timedelta(hours=(hours or 24) - 1), now)
    print_hourly_balance(out, balance)
    if not balance.balances or (hours is not None and not balance.proves_all):
        raise typer.Exit(1)


def backfill(
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First UTC day of receipt.")],
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last UTC day, included; by default the first.")
    ] = None,
    table: Annotated[list[str] | None, typer.Option(help="Silver table to rebuild; repeat it for several. By default all.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would change, and change nothing.")] = False,
) -> None:
    """Rebuild days of silver from bronze, and report what changed. Gold follows with its next build."""
    settings = load_settings()
    _rebuild(settings, requested_days(first.date(), (last or first).date(), tables=table), table or None, dry_run=dry_run)


def retry(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would change, and change nothing.")] = False,
) -> None:
    """Retry the messages that were set aside because they failed to flatten, and report what changed. Exit status 1 if some still fail."""
    settings = load_settings()
    lake = Lake(settings.lake_uri)
    days = set_aside_days(lake)
    if not days:
        out.print("No message is set aside.")
        return
    _rebuild(settings, days, None, dry_run=dry_run)


def _rebuild(settings: Settings, days: Sequence[date], tables: Sequence[str] | None, *, dry_run: bool) -> None:
    """Rebuild days of silver, and print what changed. Exit with status 1 if messages of these days are then set aside."""
    lake = Lake(settings.lake_uri)
    with progress_bars({"backfill": "messages rebuilt"}), interrupt_as_error(), closed_modes(lake, settings.lake_umask):
        rebuilt = list(
            rebuild(
                lake,
                days,
                tables=tables,
                dry_run=dry_run,
                slice_bytes=settings.flatten_bytes,
                progress=lambda messages: report_step(Step("backfill", messages, "messages rebuilt")),
            )
        )
    print_rebuilt(out, rebuilt, dry_run=dry_run)
    if not dry_run and any(day.table == SET_ASIDE and day.rows for day in rebuilt):
        err.alarm("Failed", set_aside_message(count_set_aside(lake, lake.open("silver", SET_ASIDE))))
        raise typer.Exit(1)


def maintain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be done, and do nothing.")] = False,
    today_only: Annotated[bool, typer.Option("--today-only", help="Merge today's small files and nothing else.")] = False,
) -> None:
    """Compact the tables, and remove replaced files, orphans of killed writers and old log entries."""
    settings = load_settings()
    reports = []
    lake = Lake(settings.lake_uri)
    with progress_bars({"maintain": "tables"}), interrupt_as_error(), closed_modes(lake, settings.lake_umask):
        for done, report in enumerate(upkeep(lake, settings, full=not today_only, dry_run=dry_run), start=1):
            report_step(Step("maintain", done, f"tables, {report.layer}/{report.table}"))
            reports.append(report)
    print_maintenance(out, reports, dry_run=dry_run)


def repair(
    layer: Annotated[str, typer.Argument(help="Only bronze: damaged tables of other layers are removed by hand and rebuilt.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only report what would be done.")] = False,
) -> None:
    """Repair bronze after a power cut or a failing disk: set damaged commits aside and commit their data files again. Nothing is deleted."""
    if layer != "bronze":
        raise typer.BadParameter(
            "Only bronze can be repaired: the error on a damaged table of another layer says how to rebuild it.", param_hint="layer"
        )
    settings = load_settings()
    lake = Lake(settings.lake_uri)
    with closed_modes(lake, settings.lake_umask):
        repairs = [(mend if yes else planned_repair)(lake, table) for table in BRONZE_TABLES]
    print_repairs(out, repairs, done=yes)
    if any(table_repair.unreadable for table_repair in repairs):
        raise typer.Exit(1)


def catalog(
    snapshot: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write views over the current Parquet files, for a DuckDB without the Delta extension."),
    ] = None,
) -> None:
    """Rebuild the catalogue of views, as each build of gold does, and views.sql beside it for your own DuckDB."""
    settings = load_settings()
    lake = Lake(settings.lake_uri)
    if snapshot is not None:
        with draft(snapshot) as written:
            written.write_text(
                "".join(f"{statement};\n" for statement in snapshot_statements(shown_tables(lake, settings))), encoding="utf-8"
            )
        out.print(f"Written to {snapshot}.", soft_wrap=True)
        return
    path = catalog_file(settings)
    if path is None:
        raise ConfigurationError("A lake on S3 has no catalogue of its own: set MG_CATALOG to a file on this machine.")
    with closed_modes(lake, settings.lake_umask):
        tables = build_catalog(lake, settings, path)
    out.print(f"{len(tables)} tables are in {path}.", soft_wrap=True, highlight=False)


def docs(
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("gold.html"),
) -> None:
    """Write dbt's documentation of gold as one page: models, columns, tests, lineage."""
    settings = load_settings()
    with progress_bars():
        generate_docs(Lake(settings.lake_uri), settings, output)
    out.print(f"Written to {output}.", soft_wrap=True)
