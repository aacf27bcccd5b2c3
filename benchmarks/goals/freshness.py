"""How long after it was sent an event is in gold, at a steady rate, through the real sensor, daemon and automation of Dagster.

An event is in gold when the last of the gold tables that its build changes is committed; the times are those of the Delta commits.
"""

from __future__ import annotations

import statistics
import sys
import time
import urllib.error
import urllib.request
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import polars as pl
from deltalake import DeltaTable

from benchmarks.goals.context import Context
from benchmarks.goals.tables import mib, verdict
from benchmarks.harness.compare import Spread
from benchmarks.harness.memory import MemoryCurve
from benchmarks.harness.outcome import Curve, Outcome, Plot, Reached, Table
from benchmarks.harness.processes import WorkFailedError
from benchmarks.work.steady_feed import SteadyFeed, recipient, steady_feed
from mg_lakehouse.gold.project import ensure_manifest
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.services import service
from mg_lakehouse.settings import Settings
from mg_lakehouse.testing.addresses import free_ports

TITLE: Final = "Freshness: from the queue to gold"
_RATE: Final = 500
_GOAL: Final = 60.0
_WARM_UP_SECONDS: Final = 120
"""The first runs import everything and gold is built for the first time; what is sent by then is not counted."""

_PATIENCE_SECONDS: Final = 600
_LOOK_SECONDS: Final = 2.0
_FIRST: Final = "fct_messages"
_TABLES: Final = (_FIRST, "dim_jobs", "job_metrics", "job_metrics_daily")


def measure(context: Context) -> Outcome:
    """Let Dagster run beside a steady feed for some minutes.

    Raises:
        WorkFailedError: Dagster did not start, or events did not come to gold within ten minutes.
    """
    ensure_manifest(Settings())
    home = context.folder / "dagster-home"
    home.mkdir()
    (home / "dagster.yaml").write_text(files("mg_lakehouse").joinpath("dagster.yaml").read_text())
    (port,) = free_ports(1)
    lake = Lake(str(context.folder / "lake"))
    command = [sys.executable, "-m", "dagster", "dev", "-m", "mg_lakehouse.definitions", "-h", "127.0.0.1", "-p", str(port)]
    with steady_feed(_RATE, context.folder) as feed:
        variables = {**feed.environment, "MG_LAKE_URI": lake.root, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
        log = context.folder / "dagster.log"
        with service(command, folder=context.folder, environment=variables, log=log) as dagster, MemoryCurve(dagster.pid) as memory:
            _await_answer(f"http://127.0.0.1:{port}/server_info", log)
            context.say("Dagster answers; sending begins")
            feed.begin()
            ages = _watch(context, feed, lake)
        sent = feed.sent()
    return _outcome(context, ages, sent, lake, memory.peak_bytes)


def _await_answer(url: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(_LOOK_SECONDS)
    raise WorkFailedError(f"Dagster did not start:\n{log.read_text(errors='replace')[-2_000:]}")


def _watch(context: Context, feed: SteadyFeed, lake: Lake) -> dict[int, float]:
    """Wait until all of what is to be counted is in gold, while more is sent; how long each of these recipients took, in seconds."""
    began = time.time()
    first, last = began + _WARM_UP_SECONDS, began + _WARM_UP_SECONDS + context.size.fresh_seconds
    time.sleep(last - began)
    sent = {number: at for number, at in feed.sent().items() if first <= at < last}
    context.say(f"{len(sent):,} deliveries count")
    arrivals = _Arrivals(lake)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        visible = arrivals.look()
        if sent.keys() <= visible.keys():
            return {number: visible[number] - at for number, at in sent.items()}
        time.sleep(_LOOK_SECONDS)
    raise WorkFailedError(f"After {_PATIENCE_SECONDS} s not all of the {len(sent):,} deliveries were in gold.")


class _Arrivals:
    """When each recipient came to gold, version by version; each version is read once."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._read = -1
        self._found: dict[int, float] = {}

    def look(self) -> dict[int, float]:
        """Seconds since the epoch by recipient, of all builds that are whole by now."""
        commits = {table: _commits(self._lake, table) for table in _TABLES}
        for version, at in commits[_FIRST]:
            behind = [_next(times, at) for table, times in commits.items() if table != _FIRST]
            if None in behind:
                break  # the build is still under way
            if version > self._read:
                whole = max([at, *(each for each in behind if each is not None)])
                for number in self._recipients(version):
                    self._found.setdefault(number, whole)
                self._read = version
        return self._found

    def _recipients(self, version: int) -> pl.Series:
        table = DeltaTable(self._lake.uri_of("gold", _FIRST), version=version).to_pyarrow_table(columns=["recipient_key"])
        key = pl.DataFrame(table)["recipient_key"]
        return key.str.extract(f"^id:{recipient('')}(\\d+)$").cast(pl.Int64).drop_nulls()


def _commits(lake: Lake, table: str) -> list[tuple[int, float]]:
    """Versions of a gold table that have rows, and when they were committed, oldest first."""
    if (handle := lake.open("gold", table)) is None:
        return []
    written = [(int(each["version"]), each["timestamp"] / 1000) for each in handle.history() if each["operation"] == "WRITE"]
    return sorted(written)


def _next(commits: Sequence[tuple[int, float]], at: float) -> float | None:
    times = [time_ for _, time_ in commits]
    place = bisect_left(times, at)
    return times[place] if place < len(times) else None


def _outcome(context: Context, ages: Mapping[int, float], sent: Mapping[int, float], lake: Lake, peak: int) -> Outcome:
    ordered = sorted(ages.values())
    p50, p95, worst = statistics.median(ordered), ordered[int(0.95 * len(ordered))], ordered[-1]
    builds = [at for _, at in _commits(lake, _FIRST)]
    between = Spread.of([later - earlier for earlier, later in pairwise(builds)] or [0.0])
    value = f"{worst:.0f} s (half within {p50:.0f} s, 95 % within {p95:.0f} s)"
    row = (f"{_RATE}", f"{len(ages):,}", f"{p50:.1f} s", f"{p95:.1f} s", f"{worst:.1f} s", between.text(".0f", " s"), mib(peak))
    columns = ("events/s", "deliveries counted", "median", "95 %", "slowest", "between gold builds", "peak memory of all of Dagster")
    note = (
        f"`dagster dev` with the package's `dagster.yaml`, default settings; what was sent in the first {_WARM_UP_SECONDS} s is not counted. The queue emulator and "
        "the sender run on the same cores."
    )
    start = min(sent.values())
    points = sorted((sent[number] - start, age) for number, age in ages.items())[:: max(1, len(ages) // 400)]
    curve = Curve("from sent to gold", [at for at, _ in points], [age for _, age in points])
    raw: dict[str, Any] = {"p50": p50, "p95": p95, "max": worst, "builds": builds}
    return Outcome(
        "freshness",
        TITLE,
        [Reached(f"event sent to gold visible, at a steady {_RATE} events/s", f"under {_GOAL:g} s", value, verdict(worst, at_most=_GOAL))],
        [Table(TITLE, columns, [row], note)],
        [Plot("freshness", f"Age of an event when it is in gold, at {_RATE} events a second", "sent after, seconds", "seconds", [curve])],
        (f"Measured over {context.size.fresh_seconds} seconds of sending.",),
        raw,
    )
