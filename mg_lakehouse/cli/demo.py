"""The demo: a generated feed through an emulated queue and the real pipeline, and what came out of it."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime, time, timedelta
from typing import Final, NamedTuple

from duckdb import DuckDBPyConnection
from rich.text import Text

from mg_lakehouse._util.console import TextConsole
from mg_lakehouse._util.environment import set_environment
from mg_lakehouse._util.progress import Step, report_step
from mg_lakehouse.audit.rejects import rejected_by_reason
from mg_lakehouse.cli.tables import plain_table, print_pass
from mg_lakehouse.dagster.run_pass import PassResult, run_once
from mg_lakehouse.gold.names import gold_models
from mg_lakehouse.lake.duck import connect
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import identifier, text
from mg_lakehouse.serving.queries import query
from mg_lakehouse.serving.status import read_status
from mg_lakehouse.settings import Settings, load_settings
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator

__all__ = ["DemoOutcome", "print_demo", "run_demo"]

_DAYS: Final = timedelta(days=40)
_NEXT: Final = (
    ("sql", "a prompt over all of it; .tables says what there is"),
    ("dashboard", "jobs, bounces, the suppression list and the feed as a page"),
    ("dev", "the Dagster UI on http://127.0.0.1:3000, with a trickle of events"),
    ("demo", "once more: it adds to the lake, and the numbers stay right"),
    ("status", "every table, its age and its lag"),
    ("suppressions export", "the addresses to stop mailing, as CSV"),
)


class DemoOutcome(NamedTuple):
    """What a demo did: messages sent and left in the queue, the seed of its feed, and what the pipeline made of it."""

    sent: int
    left: int
    seed: int
    result: PassResult


def run_demo(*, events: int, seed: int | None) -> DemoOutcome:
    """Publish the samples and a generated feed to an emulated queue, and run the pipeline until it is empty.

    Each demo generates another feed, unless ``seed`` says which: so a second demo adds to the lake.

    Raises:
        PermanentError, TransientError: the lake cannot be written.
    """
    # A seed gives the same feed all day: with the very moment in it, the same ids would come with other times.
    end = datetime.now(UTC).replace(microsecond=0) if seed is None else datetime.combine(datetime.now(UTC).date(), time.min, UTC)
    plan = FeedPlan(seed=secrets.randbits(32) if seed is None else seed, events=events, start=end - _DAYS, end=end)
    bodies = [*samples().values(), *(bundle.body for bundle in generate(plan).bundles)]
    # Whatever queue and credentials the environment names otherwise.
    with SqsEmulator() as queue, set_environment(queue.environment):
        sent = len(queue.publish(bodies, duplicates=0.02, progress=lambda count: report_step(Step("publish", count, "messages published"))))
        result = run_once(load_settings())
        return DemoOutcome(sent, queue.depth(), plan.seed, result)


def print_demo(out: TextConsole, settings: Settings, outcome: DemoOutcome) -> None:
    """Print what a demo did: each layer, what was rejected, jobs, failures by category, and what to type next."""
    sent, left, seed, result = outcome
    lake = Lake(settings.lake_uri)
    out.print(f"{sent:,} messages were published (seed {seed}); {left:,} are left in the queue.", highlight=False)
    print_pass(out, result)
    if not result.succeeded:
        return
    _print_layers(out, settings)
    rejected = plain_table("Rejected, and kept with the text", "items")
    for reason, count in rejected_by_reason(lake).items():
        rejected.add_row(reason, f"{count:,}")
    out.print(rejected)
    _print_gold(out, lake, settings)
    out.print()
    out.print(f"The lake is {lake.root}. Next:", highlight=False, soft_wrap=True)
    width = max(len(_typed(command)) for command, _ in _NEXT)
    for command, what in _NEXT:
        out.print(Text.assemble("  ", (f"{_typed(command):<{width}}", "bold"), f"  {what}"), highlight=False, soft_wrap=True)


def _typed(command: str) -> str:
    """A command as this person would type it: within `make`, the program is in an environment that nobody activated."""
    if "MAKELEVEL" not in os.environ:
        return f"mg-lakehouse {command}"
    return f"make {command}" if command in ("demo", "dev") else f".venv/bin/mg-lakehouse {command}"


def _print_layers(out: TextConsole, settings: Settings) -> None:
    table = plain_table("The lake", "tables", "rows")
    found = read_status(settings).tables
    for layer, what in (("bronze", "messages"), ("silver", "events"), ("gold", "rows")):
        rows = [standing.rows for (of, name), standing in found.items() if of == layer and name != "rejected_items"]
        table.add_row(layer, f"{len(rows)}", f"{sum(rows):,} {what}")
    out.print(table)


_LONGEST_REASON: Final = 44


def _print_gold(out: TextConsole, lake: Lake, settings: Settings) -> None:
    with connect(lake) as duck:
        duck.execute("create schema gold")
        for name in gold_models(settings):
            if lake.open("gold", name) is not None:
                duck.execute(f"create view gold.{identifier(name)} as from delta_scan({text(lake.uri_of('gold', name))})")
        for title, best in (("Best jobs", True), ("Worst jobs", False)):
            table = plain_table(title, "channel", "sent", "deliv.", "bounce", "open*", "click*", "spam", left=1)
            for job, channel, targeted, *rates in duck.execute(query("demo/jobs"), {"best": best}).fetchall():
                table.add_row(job[:22], channel, f"{targeted:,}", *(_percent(rate) for rate in rates))
            out.print(table)
        out.print("Ordered by delivery rate. * by people: opens by machines and clicks by bots are left out", style="dim")
        table = plain_table("Failures by category", "channel", "key", "class", "messages", "remove", left=3)
        for channel, key, category, kind, messages, must_remove in duck.execute(query("demo/bounces")).fetchall():
            # Push and SMS categories are named by their keys.
            shown = key if category != key else ""
            table.add_row(category[:26], channel, shown, kind, f"{messages:,}", "must" if must_remove else "")
        out.print(table)
        _print_people(out, duck)


def _print_people(out: TextConsole, duck: DuckDBPyConnection) -> None:
    """How mailbox providers answered, in whose words, and whom to stop mailing."""
    table = plain_table("Mailbox providers", "sent", "deliv.", "bounce", "open*", "spam", "days to act")
    for provider, sent, *rates, act in duck.execute(query("demo/providers")).fetchall():
        table.add_row(provider, f"{sent:,}", *(_percent(rate) for rate in rates), f"{act:,}" if act else "")
    out.print(table)
    table = plain_table("Why, in the servers' words", "SMTP", "status", "events", "providers", left=2)
    for reason, code, status, events, providers in duck.execute(query("demo/reasons")).fetchall():
        table.add_row(reason[:_LONGEST_REASON], code, status or "", f"{events:,}", f"{providers:,}")
    out.print(table)
    table = plain_table("To get nothing more", "channel", "addresses", left=1)
    for channel, reason, addresses in duck.execute(query("demo/suppressed")).fetchall():
        table.add_row(reason.replace("_", " "), channel, f"{addresses:,}")
    out.print(table)


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.1%}"
