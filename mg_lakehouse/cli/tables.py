"""Prints the command line's results: tables of numbers, for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mg_lakehouse._util.console import TextConsole
from mg_lakehouse._util.escaping import visible
from mg_lakehouse.audit.hourly_balance import HourlyBalance
from mg_lakehouse.bronze.loaded_files import Loaded
from mg_lakehouse.events.catalogue import SET_ASIDE
from mg_lakehouse.gold.contract import UNRESOLVED_OPT_OUTS
from mg_lakehouse.maintenance.repair import SIDE_FOLDER, Repair
from mg_lakehouse.maintenance.run import TableReport
from mg_lakehouse.serving.status import LakeStatus
from mg_lakehouse.serving.suppression_filter import Exported, Wanted
from mg_lakehouse.silver.rebuild import Rebuilt
from mg_lakehouse.silver.set_aside import SetAside, set_aside_message
from mg_lakehouse.sources.sqs import QueueDepth

if TYPE_CHECKING:  # Dagster takes seconds to import, and `status` does without it
    from mg_lakehouse.dagster.run_pass import PassResult

__all__ = [
    "plain_table",
    "print_exported",
    "print_hourly_balance",
    "print_loaded",
    "print_maintenance",
    "print_pass",
    "print_rebuilt",
    "print_repairs",
    "print_status",
    "span",
]

_MOST_FILES: Final = 50
"""Files up to which each has its own line."""


def print_pass(console: TextConsole, result: PassResult) -> None:
    """Print what a pass received, added and rejected."""
    bronze = result.metadata.get("bronze/event_feed", {})
    silver = {key: values for key, values in result.metadata.items() if key.startswith("silver/")}
    rejected = silver.pop("silver/rejected_items", {})
    table = plain_table("this pass", "", "", left=1)
    for name in ("messages_received", "messages_new", "messages_already_in_bronze", "messages_deleted", "checksum_mismatches"):
        if bronze.get(name) or (name in bronze and name != "checksum_mismatches"):
            table.add_row("bronze", name.replace("_", " "), f"{bronze[name]:,}")
    if silver:
        for name in ("rows_added", "duplicates_dropped", "conflicts_rejected"):
            table.add_row("silver", name.replace("_", " "), f"{sum(values.get(name, 0) for values in silver.values()):,}")
    if "items" in rejected:
        table.add_row("silver", "items read", f"{rejected['items']:,}")
        table.add_row("silver", "items rejected", f"{rejected['rows_added']:,}")
        if aside := sum(rejected.get("set_aside", {}).values()):
            table.add_row("silver", "messages set aside", f"{aside:,}")
    gold = [key for key in result.metadata if key.startswith("gold/")]
    if gold:
        table.add_row("gold", "models built", f"{len(gold):,}")
    console.print(table)


def print_rebuilt(console: TextConsole, made: Sequence[Rebuilt], *, dry_run: bool) -> None:
    """Print what a rebuild of days changed, or would change; a line for each day and table that differed."""
    changed = [day for day in made if day.changed]
    days = {day.day for day in made}
    if changed:
        would = "would be " if dry_run else ""
        table = plain_table("day", "table", "rows", f"{would}put right", f"{would}removed or replaced", "commit", left=2)
        for day in changed:
            version = "" if day.version is None else f"version {day.version:,}"
            table.add_row(day.day.isoformat(), day.table, f"{day.rows:,}", f"{day.added:,}", f"{day.removed:,}", version)
        console.print(table)
    rows = sum(day.rows for day in made)
    verdict = f"{len(changed):,} days of tables {'differ' if dry_run else 'differed'} from bronze" if changed else "silver matches bronze"
    verdict += ", except for what is set aside" if any(day.table == SET_ASIDE and day.rows for day in made) else ""
    console.print(f"{len(days):,} days, {rows:,} rows: {verdict}.", soft_wrap=True)
    if changed and dry_run:
        console.print("Nothing was changed. Run it without [bold]--dry-run[/] to apply this.", markup=True)
    elif changed:
        console.print("Gold follows with its next build.")


def print_exported(console: TextConsole, exported: Exported, wanted: Wanted, output: Path | None) -> None:
    """Print how many entries were written, and where the next export begins."""
    option = "--since" if wanted.removed_since is None else "--removed-since"
    lines = [f"{exported.rows:,} addresses were written{'' if output is None else f' to {output}'}."]
    if exported.is_whole:
        lines.append(f"All of them: after the mark of {option}, entries arrived with earlier times (rebuilt days or changed definitions).")
    if exported.mark is not None:
        lines.append(f"Gold covers messages received before {exported.mark:%Y-%m-%dT%H:%M:%SZ}: the next export continues with")
        lines.append(f"  {option} {exported.mark:%Y-%m-%dT%H:%M:%SZ}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def print_status(console: TextConsole, status: LakeStatus) -> None:
    """Print the status of the lake and the queue."""
    console.print(Text.assemble("Lake ", (visible(status.lake), "bold")), highlight=False, soft_wrap=True)
    if not status.tables:
        console.print(
            "It has no table yet: set MG_QUEUE_URL and run [bold]mg-lakehouse run[/], or try [bold]mg-lakehouse demo[/].", markup=True
        )
    else:
        _print_tables(console, status)
    if status.rejected:
        rejected = plain_table("rejected because", "items")
        for reason, count in status.rejected.items():
            rejected.add_row(reason, f"{count:,}")
        console.print(rejected)
    _print_set_aside(console, status.set_aside)
    _print_unresolved(console, status)
    if status.crowded:
        (layer, name), most = max(status.crowded.items(), key=lambda item: item[1])
        console.print(
            f"{len(status.crowded):,} tables have many small files ({layer}/{name}: {most:,}): run `mg-lakehouse maintain`, "
            "or let Dagster's schedules.",
            soft_wrap=True,
        )
    if status.unflattened_versions:
        console.print(f"{status.unflattened_versions:,} bronze commits are not flattened yet: run `mg-lakehouse build`.")
    match status.queue:
        case None:
            console.print("Queue: not set (MG_QUEUE_URL).")
        case QueueDepth() as depth:
            console.print(
                f"Queue: {depth.visible:,} messages wait, {depth.in_flight:,} are in flight, {depth.delayed:,} are delayed; "
                f"room in flight for {depth.head_room:,} more.",
                soft_wrap=True,
            )
        case sentence:
            console.print(f"Queue: {sentence}", soft_wrap=True)
    if status.newest_batch is not None:
        ledger = status.newest_batch.ledger
        waited = status.newest_batch.committed_at - datetime.fromisoformat(ledger.first_sent_at)
        margin = ledger.least_margin_seconds
        least = "" if margin is None else f"; the tightest delete before it had {margin:,.0f} s of visibility left"
        console.print(f"The newest batch: {ledger.new:,} messages; the oldest had waited {span(waited)}{least}.", soft_wrap=True)
    if status.key_is_generated:
        console.print(
            "Recipient keys are hashed with a generated key beside the lake (.pii_key): keep it with the lake, or set MG_PII_KEY.",
            soft_wrap=True,
        )


def print_hourly_balance(console: TextConsole, found: HourlyBalance) -> None:
    """Print the counts of each hour, and whether they balance: received = bronze, and items = rows + rejected + twice + set aside."""
    if found.hours:
        _print_hours(console, found)
    for batch in found.changed_batches:
        console.print(f"The messages of batch {batch} are not those that were committed.", style="bold red", highlight=False)
    if found.uncovered:
        console.print(f"{found.uncovered:,} items begin in messages and are in no row and no reject; bronze has them.", style="bold red")
    for message in found.overlooked:
        console.print(
            f"Not all items of message {visible(message)} were read: see reason overlooked_items in silver.rejected_items.", highlight=False
        )
    if found.without_message:
        console.print(
            f"Silver has rows of {found.without_message:,} messages that bronze lost: "
            "`mg-lakehouse repair bronze` says what can be recovered.",
            style="bold red",
            highlight=False,
            soft_wrap=True,
        )
    since = found.proved_since
    if since is None:
        console.print("The logs no longer cover these hours: nothing can be proved.")
        return
    proved = f"Proved: the hours since {since:%Y-%m-%d %H:%M} UTC"
    less = "" if found.proves_all else f"; the logs no longer cover {_hours(found)} before that"
    console.print(f"{proved}{less}.", highlight=False, soft_wrap=True)
    if not found.hours and not found.without_message:
        console.print("Nothing was received in them.")
    elif found.balances:
        console.print("Every hour balances: nothing is missing, nothing is twice.")


def _hours(found: HourlyBalance) -> str:
    assert found.proved_since is not None
    assert found.asked_since is not None
    return span(found.proved_since - found.asked_since)


def _print_hours(console: TextConsole, found: HourlyBalance) -> None:
    heads = ["received", "bronze", "waiting", "items", "rows", "rejected", "twice"]
    heads += ["set aside"] if any(hour.set_aside for hour in found.hours) else []
    table = plain_table("hour UTC", *heads, "missing")
    for hour in found.hours:
        numbers = (hour.received, hour.in_bronze, hour.waiting, hour.items, hour.rows, hour.rejected, hour.duplicates, hour.set_aside)
        wrong = Text(f"{hour.messages_missing:+,} messages, {hour.items_missing:+,} items", style="bold red")
        missing = "0" if hour.balances else wrong
        table.add_row(hour.hour[5:].replace("T", " "), *(f"{number:,}" for number in numbers[: len(heads)]), missing)
    console.print(table)


def print_repairs(console: TextConsole, repairs: Sequence[Repair], *, done: bool) -> None:
    """Print what was done to bronze tables, or would be, file by file."""
    say = partial(console.print, highlight=False, soft_wrap=True)
    for repair in repairs:
        for damage in repair.damaged:
            say(f"bronze/{repair.table}: {damage.file} is {damage.state}, and {_is('is', done=done)} set aside in {SIDE_FOLDER}.")
        for lost in repair.unreadable:
            say(
                f"bronze/{repair.table}: {lost.file} is {lost.state}, and {_is('is', done=done)} replaced by one without rows: "
                "rows that no other file has are lost.",
                style="bold red",
            )
        for batch in repair.recovered:
            where = "committed again" if batch.version is None else f"restored to commit {batch.version:,}"
            files = ", ".join(batch.files)
            say(
                f"bronze/{repair.table}: {batch.messages:,} messages of batch {batch.batch_id} {_is('are', done=done)} {where}, from {files}."
            )
        for file in repair.unknown:
            say(f"bronze/{repair.table}: {file} belongs to no commit and cannot be read: it stays as it is.")
    if not any(repair.anything for repair in repairs):
        console.print("Bronze needs no repair.")
    elif not done:
        console.print("Nothing was changed. Run it with [bold]--yes[/] to apply this.", markup=True)
    else:
        console.print("Silver and gold follow with the next run; `mg-lakehouse reconcile` balances the hours.", soft_wrap=True)


def _is(verb: str, *, done: bool) -> str:
    return verb if done else "would be"


def print_loaded(console: TextConsole, loaded: Sequence[Loaded]) -> None:
    """Print the result of each file, or for very many files of each kind, and why a file was not read."""
    table = plain_table("file", "kind", "items", "bundles", "new", "there before", left=2)
    for name, kind, files in _listed(loaded):
        numbers = (sum(numbers) for numbers in zip(*((file.items, file.bundles, file.new, file.already) for file in files), strict=True))
        table.add_row(name, kind, *(f"{number:,}" for number in numbers))
    console.print(table)
    for file in loaded:
        for note in file.notes:
            console.print(f"{visible(file.name)} {note}.", highlight=False, soft_wrap=True)
        if file.failure is not None:
            console.alarm("Failed", visible(file.failure))


def _listed(loaded: Sequence[Loaded]) -> Iterator[tuple[str, str, list[Loaded]]]:
    """Yield name, kind and files of each line."""
    if len(loaded) <= _MOST_FILES:
        yield from ((file.name, file.kind, [file]) for file in loaded)
        return
    for kind in dict.fromkeys(file.kind for file in loaded):
        files = [file for file in loaded if file.kind == kind]
        yield f"{len(files):,} files", kind, files


def print_maintenance(console: TextConsole, reports: Sequence[TableReport], *, dry_run: bool) -> None:
    """Print what was done to the tables, or would be."""
    if not reports:
        console.print("The lake has no table yet: there is nothing to maintain.")
        return
    table = plain_table(
        "table", "files", "" if dry_run else "now", "size", "" if dry_run else "now", "to do" if dry_run else "done", "removed"
    )
    for report in (report for report in reports if report.anything):
        sizes = (report.files_before, report.files_after, report.bytes_before, report.bytes_after)
        files, files_now, size, size_now = f"{sizes[0]:,}", f"{sizes[1]:,}", _in_bytes(sizes[2]), _in_bytes(sizes[3])
        now = ("", "") if dry_run else (files_now, size_now)
        table.add_row(f"{report.layer}/{report.table}", files, now[0], size, now[1], _rewrites(report), _removed(report))
    if table.row_count:
        console.print(table)
    for report in reports:
        for note in report.notes:
            console.print(f"{report.layer}/{report.table}: {note}.", highlight=False, soft_wrap=True)
    untouched = sum(not report.anything for report in reports)
    console.print(f"{untouched:,} of {len(reports):,} tables {'need' if dry_run else 'needed'} nothing.", highlight=False)


def _rewrites(report: TableReport) -> str:
    rewrites = [f"{count:,} {how}" for count, how in ((report.merged, "merged"), (report.sorted, "sorted")) if count]
    return ", ".join(rewrites)


def _removed(report: TableReport) -> str:
    if not report.removed.files:
        return ""
    return f"{report.removed.files:,}" + (f", {_in_bytes(report.removed.bytes)}" if report.removed.bytes else "")


def _in_bytes(size: float) -> str:
    """Format a size in its largest fitting unit, such as ``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1_000:
            return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:,.1f} TB"


def _print_set_aside(console: TextConsole, found: SetAside) -> None:
    if not found.messages:
        return
    table = plain_table("set aside because", "messages")
    for reason, count in found.reasons.items():
        table.add_row(reason, f"{count:,}")
    console.print(table)
    console.print(set_aside_message(found), style="bold red", highlight=False, soft_wrap=True)


def _print_unresolved(console: TextConsole, status: LakeStatus) -> None:
    unresolved = status.tables.get(("gold", UNRESOLVED_OPT_OUTS))
    if unresolved is not None and unresolved.rows:
        console.print(
            f"{unresolved.rows:,} opt-outs have no address, and the lake knows none of their recipients: "
            f"`select * from gold.{UNRESOLVED_OPT_OUTS}` in mg-lakehouse sql lists them.",
            soft_wrap=True,
        )


def _print_tables(console: TextConsole, status: LakeStatus) -> None:
    table = plain_table("layer", "table", "rows", "version", "updated", "lag", left=1)
    layer = None
    for (of, name), found in status.tables.items():
        if layer not in (None, of):
            table.add_section()
        layer = of
        newest = found.newest_received_at
        table.add_row(
            of,
            name,
            f"{found.rows:,}",
            f"{found.version:,}",
            f"{span(status.at - found.updated_at)} ago",
            span(status.at - newest) if isinstance(newest, datetime) else "",
        )
    console.print(table)


class _PlainTable(Table):
    """A table whose strings stay in their rows: a line feed in a cell would look like another row."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*(visible(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def plain_table(*heads: str, left: int = 0) -> Table:
    """Build a compact table that never truncates cells: text in the first column and the ``left`` after it, then numbers.

    A truncated number is worse than none, and an ordinary terminal has 80 columns: wide cells continue on a second line.
    """
    table = _PlainTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index <= left else "right", overflow="fold")
    return table


def span(time: timedelta) -> str:
    """Format a time span in its largest fitting unit, such as ``3 min``."""
    seconds = max(0, int(time.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
