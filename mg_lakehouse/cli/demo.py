"""The demo: a generated feed through an embedded queue and the real pipeline, and what came out of it."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime, time, timedelta
from typing import Final, NamedTuple

from duckdb import DuckDBPyConnection
from rich.text import Text

from mg_lakehouse._util.console import TextConsole
from mg_lakehouse._util.environment import set_environment
from mg_lakehouse._util.progress import Step, announce
from mg_lakehouse.audit.rejects import rejected_by_reason
from mg_lakehouse.cli.tables import plain_table, print_pass
from mg_lakehouse.dagster.run_pass import PassResult, run_once
from mg_lakehouse.lake.duck import connect
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.status import read_status
from mg_lakehouse.settings import Settings, load_settings
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.queue import EmbeddedQueue
from mg_lakehouse.testing.samples import samples

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
    """Publish the samples and a generated feed to an embedded queue, and run the pipeline until it is empty.

    Each demo generates another feed, unless ``seed`` says which: so a second demo adds to the lake.

    Raises:
        PermanentError, TransientError: the lake cannot be written, or a part of the demo is not installed.
    """
    # A seed gives the same feed all day: with the very moment in it, the same ids would come with other times.
    end = datetime.now(UTC).replace(microsecond=0) if seed is None else datetime.combine(datetime.now(UTC).date(), time.min, UTC)
    plan = FeedPlan(seed=secrets.randbits(32) if seed is None else seed, events=events, start=end - _DAYS, end=end)
    bodies = [*samples().values(), *(bundle.body for bundle in generate(plan).bundles)]
    # Whatever queue and credentials the environment names otherwise.
    with EmbeddedQueue() as queue, set_environment(queue.environment):
        sent = queue.publish(bodies, duplicates=0.02, progress=lambda count: announce(Step("publish", count, "messages published")))
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
    _print_gold(out, lake)
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


_JOBS: Final = """
    select coalesce(d.correlation_id, m.request_id) as job, m.channel, m.targeted, m.delivery_rate, m.bounce_rate,
           case when m.channel = 'email' then m.human_open_rate end, case when m.channel = 'email' then m.human_click_rate end,
           case when m.channel = 'email' then m.complaint_rate end
    from delta_scan('{gold}/job_metrics') m join delta_scan('{gold}/dim_jobs') d using (request_id)
    where m.attempted >= 20
    order by m.delivery_rate {order}, m.attempted desc, m.request_id
    limit 5
"""

_BOUNCES: Final = """
    select j.channel, j.category_key, any_value(j.category) as category, any_value(j.class) as class,
           sum(j.messages)::bigint as messages, any_value(c.must_remove) as must_remove
    from delta_scan('{gold}/job_bounce_categories') j
    left join delta_scan('{gold}/dim_bounce_categories') c using (channel, category_key)
    group by all order by messages desc, j.channel, j.category_key limit 12
"""

_PROVIDERS: Final = """
    select mailbox_provider, sum(attempted)::bigint as attempted, sum(accepted) / nullif(sum(attempted), 0), sum(bounced) / nullif(sum(attempted), 0),
           sum(unique_human_openers) / nullif(sum(accepted), 0), sum(complainers_fbl) / nullif(sum(accepted_fbl), 0),
           count(*) filter (where complaint_level = 'act') as days_to_act
    from delta_scan('{gold}/mailbox_provider_daily') where channel = 'email'
    group by all order by attempted desc, mailbox_provider limit 6
"""

_REASONS: Final = """
    select reason_fingerprint, smtp_code::varchar, enhanced_status, sum(events)::bigint as events, count(distinct mailbox_provider)
    from delta_scan('{gold}/bounce_reasons_daily') where smtp_code is not null
    group by all order by events desc, reason_fingerprint limit 6
"""

_SUPPRESSED: Final = """
    select channel, reason, count(*) as addresses
    from (select channel, unnest(reasons) as reason from delta_scan('{gold}/suppression_list'))
    group by all order by addresses desc, channel, reason limit 6
"""

_LONGEST_REASON: Final = 44


def _print_gold(out: TextConsole, lake: Lake) -> None:
    gold = f"{lake.root}/gold".replace("'", "''")
    with connect(lake) as duck:
        for title, order in (("Best jobs", "desc"), ("Worst jobs", "asc")):
            table = plain_table(title, "channel", "sent", "deliv.", "bounce", "open*", "click*", "spam", left=1)
            for job, channel, targeted, *rates in duck.execute(_JOBS.format(gold=gold, order=order)).fetchall():
                table.add_row(job[:22], channel, f"{targeted:,}", *(_percent(rate) for rate in rates))
            out.print(table)
        out.print("Ordered by delivery rate. * by people: opens by machines and clicks by bots are left out", style="dim")
        table = plain_table("Failures by category", "channel", "key", "class", "messages", "remove", left=3)
        for channel, key, category, kind, messages, must_remove in duck.execute(_BOUNCES.format(gold=gold)).fetchall():
            # Push and SMS categories are named by their keys.
            shown = key if category != key else ""
            table.add_row(category[:26], channel, shown, kind, f"{messages:,}", "must" if must_remove else "")
        out.print(table)
        _print_people(out, duck, gold)


def _print_people(out: TextConsole, duck: DuckDBPyConnection, gold: str) -> None:
    """How mailbox providers answered, in whose words, and whom to stop mailing."""
    table = plain_table("Mailbox providers", "sent", "deliv.", "bounce", "open*", "spam", "days to act")
    for provider, sent, *rates, act in duck.execute(_PROVIDERS.format(gold=gold)).fetchall():
        table.add_row(provider, f"{sent:,}", *(_percent(rate) for rate in rates), f"{act:,}" if act else "")
    out.print(table)
    table = plain_table("Why, in the servers' words", "SMTP", "status", "events", "providers", left=2)
    for reason, code, status, events, providers in duck.execute(_REASONS.format(gold=gold)).fetchall():
        table.add_row(reason[:_LONGEST_REASON], code, status or "", f"{events:,}", f"{providers:,}")
    out.print(table)
    table = plain_table("To get nothing more", "channel", "addresses", left=1)
    for channel, reason, addresses in duck.execute(_SUPPRESSED.format(gold=gold)).fetchall():
        table.add_row(reason.replace("_", " "), channel, f"{addresses:,}")
    out.print(table)


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.1%}"
