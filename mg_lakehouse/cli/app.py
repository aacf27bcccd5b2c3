"""The command line ``mg-lakehouse``.

Each command reads the settings, calls one function and prints what it gave; errors of ours are one sentence on
standard error and exit status 1.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from typer.exceptions import TyperException
from typer.rich_utils import rich_format_error

from mg_lakehouse._util.console import TextConsole
from mg_lakehouse._util.escaping import for_terminal, terminal_stream
from mg_lakehouse._util.progress import Step, hearing, listening
from mg_lakehouse._util.signals import handling
from mg_lakehouse._version import __version__
from mg_lakehouse.cli.rows import QueryFormat
from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.events.catalogue import SET_ASIDE
from mg_lakehouse.serving.suppression_filter import Channel, Format, Reason, Wanted
from mg_lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:  # Dagster takes seconds to import
    from mg_lakehouse.dagster.run_pass import PassResult

app = typer.Typer(
    name="mg-lakehouse",
    help="Turn the MessageGears event feed into a lakehouse: SQS to bronze to silver to gold.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
suppressions = typer.Typer(help="Whom to send nothing more to.", no_args_is_help=True)
app.add_typer(suppressions, name="suppressions")
_Wait = Annotated[
    float,
    typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for another run of this Dagster instance that is at work."),
]
out = TextConsole()
err = TextConsole(stderr=True)


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


@app.command()
def run(
    max_messages: Annotated[int | None, typer.Option(min=1, help="Receive no more messages than this.")] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0.1, help="Receive no longer than this, in seconds.")] = None,
    wait: _Wait = 300.0,
) -> None:
    """Drain the queue until it is empty, flatten, and build gold: one pass through Dagster, in this process."""
    from mg_lakehouse.cli.tables import print_pass  # noqa: PLC0415  `--help` does not pay for Dagster
    from mg_lakehouse.dagster.run_pass import run_once  # noqa: PLC0415

    settings = load_settings()
    with _progress(), _output_aside() as log:
        result = run_once(settings, max_messages=max_messages, max_seconds=max_seconds, wait_seconds=wait)
    print_pass(out, result)
    _conclude(result, log)


@app.command()
def status() -> None:
    """Show rows, age and lag of every table, what was rejected, and what waits in the queue."""
    from mg_lakehouse.cli.tables import print_status  # noqa: PLC0415
    from mg_lakehouse.serving.status import read_status  # noqa: PLC0415

    print_status(out, read_status(load_settings()))


@app.command()
def reconcile(
    hours: Annotated[
        int | None,
        typer.Option(
            min=1, max=24 * 30, help="How many hours back, this one included. By default 24, or as many of them as the logs still tell of."
        ),
    ] = None,
) -> None:
    """Add up what the queue gave, bronze, silver, rejected and duplicates, hour by hour, and say which hours that proves.

    Exit status 1 where an hour does not balance, where silver has rows of messages that bronze has not, or where --hours asks for more than can be proved.
    """
    from datetime import timedelta  # noqa: PLC0415

    from mg_lakehouse.audit.hourly_balance import reconcile_sources  # noqa: PLC0415
    from mg_lakehouse.cli.tables import print_reconciliation  # noqa: PLC0415
    from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415

    now = datetime.now(UTC)
    found = reconcile_sources(Lake(load_settings().lake_uri), now - timedelta(hours=(hours or 24) - 1), now)
    print_reconciliation(out, found)
    if not found.balances or (hours is not None and not found.proves_all):
        raise typer.Exit(1)


@app.command()
def maintain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    today_only: Annotated[bool, typer.Option("--today-only", help="Merge today's small files and nothing else.")] = False,
) -> None:
    """Compact the tables and remove what nobody needs any more: replaced files, orphans of killed writers, old log entries."""
    from mg_lakehouse._util.progress import announce  # noqa: PLC0415
    from mg_lakehouse.cli.tables import print_maintenance  # noqa: PLC0415
    from mg_lakehouse.dagster.interrupts import in_a_sentence  # noqa: PLC0415
    from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415
    from mg_lakehouse.maintenance.run import maintain as upkeep  # noqa: PLC0415

    settings = load_settings()
    reports = []
    with _progress({"maintain": "tables"}), in_a_sentence():
        for done, report in enumerate(upkeep(Lake(settings.lake_uri), settings, full=not today_only, dry_run=dry_run), start=1):
            announce(Step("maintain", done, f"tables, {report.layer}/{report.table}"))
            reports.append(report)
    print_maintenance(out, reports, dry_run=dry_run)


@app.command()
def repair(
    layer: Annotated[str, typer.Argument(help="bronze: the tables of the other layers are removed when they are damaged, and made anew.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without, it is said what would be done.")] = False,
) -> None:
    """Repair bronze after a power cut or a failing disk: damaged commits are set aside, their data files taken in again. Nothing is deleted."""
    from mg_lakehouse.bronze.tables import BRONZE_TABLES  # noqa: PLC0415
    from mg_lakehouse.cli.tables import print_repairs  # noqa: PLC0415
    from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415
    from mg_lakehouse.maintenance.repair import planned_repair  # noqa: PLC0415
    from mg_lakehouse.maintenance.repair import repair as mend  # noqa: PLC0415

    if layer != "bronze":
        raise typer.BadParameter(
            "Only bronze is repaired: what refuses a damaged table of another layer says how to make it anew.", param_hint="layer"
        )
    lake = Lake(load_settings().lake_uri)
    repairs = [(mend if yes else planned_repair)(lake, table) for table in BRONZE_TABLES]
    print_repairs(out, repairs, done=yes)
    if any(each.unreadable for each in repairs):
        raise typer.Exit(1)


_MARKS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]


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
    from mg_lakehouse.cli.tables import print_exported  # noqa: PLC0415
    from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415
    from mg_lakehouse.serving.suppressions import export_file, export_stream  # noqa: PLC0415

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


@app.command()
def backfill(
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First UTC day of receipt.")],
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last UTC day, included; by default the first.")
    ] = None,
    table: Annotated[list[str] | None, typer.Option(help="Silver table to make anew; several by repeating it, all by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
) -> None:
    """Make days of silver anew from bronze, and say what changed. Gold follows with its next build."""
    from mg_lakehouse.silver.rebuild import asked_days  # noqa: PLC0415

    settings = load_settings()
    _make_anew(settings, asked_days(first.date(), (last or first).date(), tables=table), table or None, dry_run=dry_run)


@app.command()
def retry(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
) -> None:
    """Flatten again the messages that were set aside because flattening them failed, and say what changed. Exit status 1 where some fail still."""
    from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415
    from mg_lakehouse.silver.set_aside import set_aside_days  # noqa: PLC0415

    settings = load_settings()
    lake = Lake(settings.lake_uri)
    days = set_aside_days(lake)
    if not days:
        out.print("No message is set aside.")
        return
    _make_anew(settings, days, None, dry_run=dry_run)


def _make_anew(settings: Settings, days: Sequence[date], tables: Sequence[str] | None, *, dry_run: bool) -> None:
    """Make days of silver anew, and say what changed; end with status 1 where messages of them are set aside then."""
    from mg_lakehouse._util.progress import announce  # noqa: PLC0415
    from mg_lakehouse.cli.tables import print_rederived  # noqa: PLC0415
    from mg_lakehouse.dagster.interrupts import in_a_sentence  # noqa: PLC0415
    from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415
    from mg_lakehouse.silver.rebuild import rederive  # noqa: PLC0415
    from mg_lakehouse.silver.set_aside import count_set_aside, said_of  # noqa: PLC0415

    with _progress({"backfill": "messages flattened again"}), in_a_sentence():
        made = list(
            rederive(
                Lake(settings.lake_uri),
                days,
                tables=tables,
                dry_run=dry_run,
                slice_bytes=settings.flatten_bytes,
                progress=lambda messages: announce(Step("backfill", messages, "messages flattened again")),
            )
        )
    print_rederived(out, made, dry_run=dry_run)
    if not dry_run and any(each.table == SET_ASIDE and each.rows for each in made):
        err.alarm("Failed", said_of(count_set_aside(Lake(settings.lake_uri))))
        raise typer.Exit(1)


@app.command()
def load(
    files: Annotated[list[Path], typer.Argument(help="Files, or - for standard input.", dir_okay=False, allow_dash=True)],
    activity: Annotated[
        str | None, typer.Option("--type", help="What the rows of a CSV file are that does not say so, such as opens or CLICKS.")
    ] = None,
    bronze_only: Annotated[bool, typer.Option("--bronze-only", help="Flatten nothing and build nothing yet.")] = False,
    wait: _Wait = 300.0,
) -> None:
    """Load files of the feed: XML or CSV, plain, gzip or zip. What was loaded before is passed over. Then flatten and build gold."""
    from mg_lakehouse._util.progress import announce  # noqa: PLC0415
    from mg_lakehouse.bronze.loaded_files import load_files  # noqa: PLC0415
    from mg_lakehouse.cli.tables import print_loaded, print_pass  # noqa: PLC0415
    from mg_lakehouse.dagster.interrupts import in_a_sentence  # noqa: PLC0415
    from mg_lakehouse.dagster.run_pass import flatten_and_build  # noqa: PLC0415
    from mg_lakehouse.events.formats.csv import known_type  # noqa: PLC0415
    from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415

    element = None if activity is None else known_type(activity)
    if activity is not None and element is None:
        raise typer.BadParameter(f"{activity} is no activity of the feed.", param_hint="--type")
    settings = load_settings()
    with _progress({"load": "items loaded"}), in_a_sentence():
        loaded = list(
            load_files(
                Lake(settings.lake_uri),
                settings,
                [sys.stdin.buffer if str(file) == "-" else file for file in files],
                activity=element,
                progress=lambda items: announce(Step("load", items, "items loaded")),
            )
        )
    print_loaded(out, loaded)
    if any(each.new for each in loaded) and not bronze_only:
        with _progress(), _output_aside() as log:
            result = flatten_and_build(settings, wait_seconds=wait)
        print_pass(out, result)
        _conclude(result, log)
    if any(each.failure for each in loaded):
        raise typer.Exit(1)


@app.command()
def sql(
    statement: Annotated[str | None, typer.Argument(help="What to ask; by default standard input, or a prompt on a terminal.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", exists=True, dir_okay=False, help="File of statements; the last one's rows are shown.")
    ] = None,
    file_format: Annotated[QueryFormat, typer.Option("--format", help="How rows are written.")] = "table",
    output: Annotated[Path | None, typer.Option(dir_okay=False, help="File to write to, for its owner's eyes only.")] = None,
) -> None:
    """Ask the lake in SQL: views bronze.*, silver.* and gold.*, read-only, and nothing outside of the lake."""
    from mg_lakehouse.cli.rows import answer  # noqa: PLC0415
    from mg_lakehouse.location import Location  # noqa: PLC0415
    from mg_lakehouse.serving.sandbox.sandbox import ad_hoc  # noqa: PLC0415

    if file is not None:
        statement = file.read_text(encoding="utf-8")
    if statement is None and not sys.stdin.isatty():
        statement = sys.stdin.read()
    settings = load_settings()
    with ad_hoc(Location(settings.lake_uri), settings) as asked:
        if statement is not None:
            answer(asked, statement, file_format, output)
            return
        from mg_lakehouse.cli.prompt import run_prompt  # noqa: PLC0415

        run_prompt(
            asked,
            lambda said: answer(asked, said, file_format, output),
            lambda text: out.print(text, highlight=False, soft_wrap=True),
        )


@app.command()
def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the page.")] = 2718,
    host: Annotated[str, typer.Option(help="Address to listen at; the page asks nobody who they are.")] = "127.0.0.1",
) -> None:
    """Show jobs, bounces, the suppression list and the feed as a page that refreshes itself."""
    from mg_lakehouse.serving.dashboard.serve import serve  # noqa: PLC0415

    serve(load_settings(), out, host=host, port=port)


@app.command()
def catalog(
    snapshot: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write views over the Parquet files of this moment, for a DuckDB without the Delta extension."),
    ] = None,
) -> None:
    """Make the catalogue of views anew, as each build of gold does, and views.sql beside it for a DuckDB of your own."""
    from mg_lakehouse.errors import ConfigurationError  # noqa: PLC0415
    from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415
    from mg_lakehouse.lake.rows_out import draft  # noqa: PLC0415
    from mg_lakehouse.serving.catalog_file import catalog_file  # noqa: PLC0415
    from mg_lakehouse.serving.views import build_catalog, shown_tables, snapshot_statements  # noqa: PLC0415

    settings = load_settings()
    lake = Lake(settings.lake_uri)
    if snapshot is not None:
        with draft(snapshot) as written:
            written.write_text("".join(f"{each};\n" for each in snapshot_statements(shown_tables(lake, settings))), encoding="utf-8")
        out.print(f"Written to {snapshot}.", soft_wrap=True)
        return
    path = catalog_file(settings)
    if path is None:
        raise ConfigurationError("A lake on S3 has no catalogue of its own: set MG_CATALOG to a file of this machine.")
    tables = build_catalog(lake, settings, path)
    out.print(f"{len(tables)} tables are in {path}.", soft_wrap=True, highlight=False)


@app.command()
def docs(
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("gold.html"),
) -> None:
    """Write dbt's documentation of gold as one page: models, columns, tests, lineage."""
    from mg_lakehouse.gold.dbt_project import generate_docs  # noqa: PLC0415
    from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415

    settings = load_settings()
    with _progress():
        generate_docs(Lake(settings.lake_uri), settings, output)
    out.print(f"Written to {output}.", soft_wrap=True)


@app.command()
def demo(
    events: Annotated[int, typer.Option(min=1, help="Events to generate.")] = 20_000,
    seed: Annotated[int | None, typer.Option(help="Seed of the generated feed; by default a new one each time.")] = None,
) -> None:
    """Publish a generated feed to an embedded queue, run the pipeline on it, and show what came out."""
    from mg_lakehouse.cli.demo import print_demo, run_demo  # noqa: PLC0415
    from mg_lakehouse.cli.dev import dagster_home  # noqa: PLC0415

    settings = load_settings()
    if os.environ.get("DAGSTER_HOME"):
        dagster_home()
    with _progress(), _output_aside() as log:
        outcome = run_demo(events=events, seed=seed)
    print_demo(out, settings, outcome)
    _conclude(outcome.result, log)


@app.command()
def dev(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the Dagster UI, on 127.0.0.1.")] = 3000,
    bundles_a_minute: Annotated[float, typer.Option(min=0.1, help="Messages that trickle into the embedded queue.")] = 30.0,
) -> None:
    """Open the Dagster UI on an embedded queue with a steady trickle: assets fill while you watch."""
    from mg_lakehouse.cli.dev import run_dev  # noqa: PLC0415

    run_dev(load_settings(), out, port=port, bundles_a_minute=bundles_a_minute)


def _conclude(result: PassResult, log: Path) -> None:
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
def _output_aside() -> Iterator[Path]:
    """Have what the steps print, dbt above all, written to a file of its own; :func:`_conclude` decides whether it stays."""
    descriptor, name = tempfile.mkstemp(prefix="mg-lakehouse-", suffix=".log")
    log = Path(name)
    try:
        with os.fdopen(descriptor, "w") as output, redirect_stdout(output):
            yield log
    except LakehouseError:
        log.unlink()
        raise


_STAGES = {"publish": "messages published", "bronze": "messages received", "silver": "events flattened", "gold": "models built"}


@contextmanager
def _progress(stages: Mapping[str, str] = _STAGES) -> Iterator[None]:
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
