"""A lake on S3 that is some way off: what a pass and the commands take, in processes of their own, while each answer of the store comes so much later.

A real S3 server answers, through a proxy that waits before it passes a request on and counts them. Each latency has a lake of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks.goals.context import Context
from benchmarks.goals.tables import verdict
from benchmarks.harness.outcome import Curve, Outcome, Plot, Reached, Table
from benchmarks.harness.processes import WorkFailedError
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy, Rule
from mg_lakehouse.testing.sqs import SqsEmulator

TITLE: Final = "A lake on S3, some way off"
_MILLISECONDS: Final = {"tiny": (0, 20)}
_ALL: Final = (0, 20, 50, 100)
_EVENTS: Final = 700
_STARTED: Final = "import sys; sys.argv[0] = 'mg-lakehouse'; from mg_lakehouse.cli.app import main; main()"
_ASKED: Final = "select count(*) from gold.job_metrics"
_RUN: Final = "`run` over one event"
_COMMANDS: Final = {_RUN: ("run",), "`run` over nothing": ("run",), "`sql` over one table": ("sql", _ASKED), "`status`": ("status",)}
_AT: Final = 50
_GOALS: Final = {_RUN: 5.0, "`sql` over one table": 1.0, "`status`": 2.0}
"""Seconds above those without a wait, at most, at 50 ms a request."""


class _Took(NamedTuple):
    seconds: float
    requests: int


def measure(context: Context) -> Outcome:
    """Fill a lake at each latency, and run each command some times.

    Raises:
        WorkFailedError: a command failed.
    """
    latencies = _MILLISECONDS.get(context.size_name, _ALL)
    found: dict[tuple[str, int], list[_Took]] = {}
    for latency in latencies:
        for name, took in _at(context, latency).items():
            found[name, latency] = took
            context.say(f"{latency} ms, {name}: {_seconds(took):.1f} s, {took[-1].requests:,} requests")
    return Outcome("store", TITLE, _reached(found), [_table(found, latencies)], [_plot(found, latencies)], (), _raw(found))


def _at(context: Context, latency: int) -> Mapping[str, list[_Took]]:
    """Run the commands on a lake of which each answer comes so many milliseconds late."""
    with ExitStack() as stack:
        server = stack.enter_context(S3Server())
        proxy = stack.enter_context(FaultProxy(server.endpoint_url))
        queue = stack.enter_context(SqsEmulator())
        lake = f"{server.make_bucket('lake')}/lake"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MG_", "DAGSTER_"))}
        environment = kept | proxy.environment | queue.environment | {"MG_LAKE_URI": lake, "MG_PII_KEY": "k" * 40}
        queue.publish([bundle.body for bundle in generate(FeedPlan(events=_EVENTS, seed=3)).bundles])
        _command(context.folder, proxy, environment, ("run",))
        if latency:
            stack.enter_context(proxy.rules(Rule(fault="slow", seconds=latency / 1000, count=None)))
        found: dict[str, list[_Took]] = {name: [] for name in _COMMANDS}
        for number in range(context.size.slow_rounds):
            for name, arguments in _COMMANDS.items():
                if name == _RUN:
                    queue.publish([_open(number)])
                found[name].append(_command(context.folder, proxy, environment, arguments))
        return found


def _command(folder: Path, proxy: FaultProxy, environment: Mapping[str, str], arguments: Sequence[str]) -> _Took:
    proxy.seen()
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _STARTED, *arguments], env=dict(environment), cwd=folder, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - begun
    if done.returncode:
        raise WorkFailedError(f"mg-lakehouse {arguments[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return _Took(seconds, len(proxy.seen()))


def _open(number: int) -> str:
    return (
        f"<ActivityItems><OpenActivity><ActivityId>one{number}</ActivityId><Timestamp>2026-03-01T12:00:{number:02}-05:00</Timestamp>"
        "<RequestId>b1-0</RequestId><RecipientId>77</RecipientId><EmailAddress>ada@example.com</EmailAddress></OpenActivity></ActivityItems>"
    )


def _seconds(took: Sequence[_Took]) -> float:
    return median(each.seconds for each in took)


def _reached(found: Mapping[tuple[str, int], list[_Took]]) -> list[Reached]:
    if ("`status`", _AT) not in found:
        return []
    above = {name: _seconds(found[name, _AT]) - _seconds(found[name, 0]) for name in _GOALS}
    lines = [
        Reached(
            f"{name} on S3 at {_AT} ms a request, above that at none",
            f"at most {most:g} s",
            f"{above[name]:.1f} s",
            verdict(above[name], at_most=most),
        )
        for name, most in _GOALS.items()
    ]
    requests = found[_RUN, 0][0].requests
    return [
        *lines,
        Reached(f"{_RUN} on S3, a process of its own", "at most 1,000 requests", f"{requests:,}", verdict(requests, at_most=1_000)),
    ]


def _table(found: Mapping[tuple[str, int], list[_Took]], latencies: Sequence[int]) -> Table:
    rows = [
        (name, *(f"{_seconds(found[name, latency]):.1f} s" for latency in latencies), f"{found[name, latencies[0]][0].requests:,}")
        for name in _COMMANDS
    ]
    columns = ("", *(f"{latency} ms a request" for latency in latencies), "requests")
    note = f"Each command in a process of its own, imports included, on a lake of {_EVENTS} events in 49 tables; the requests are those of the first round."
    return Table(TITLE, columns, rows, note)


def _plot(found: Mapping[tuple[str, int], list[_Took]], latencies: Sequence[int]) -> Plot:
    curves = [
        Curve(name.replace("`", ""), list(latencies), [_seconds(found[name, latency]) for latency in latencies]) for name in _COMMANDS
    ]
    return Plot("store", TITLE, "milliseconds a request", "seconds", curves)


def _raw(found: Mapping[tuple[str, int], list[_Took]]) -> dict[str, list[_Took]]:
    return {f"{name} at {latency} ms": took for (name, latency), took in found.items()}
