"""Maintenance beside the pipeline, by real processes: appends go through, a kill in the middle harms nothing, on S3 as well."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

import polars as pl
import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.location import Layer
from mg_lakehouse.maintenance.run import maintain
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.cli.commands import environment
from mg_lakehouse_tests.faults.invariants import column, in_bronze_once, nothing_is_twice
from mg_lakehouse_tests.lake.feeds import receive

pytestmark = pytest.mark.slow

NOW: Final = datetime.now(UTC)

MAINTAIN: Final = """
from mg_lakehouse.settings import load_settings
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.maintenance.run import maintain

settings = load_settings().model_copy(update={"small_files": 2})
while True:
    for report in maintain(Lake(settings.lake_uri), settings):
        print(report.merged, report.sorted, *report.notes, flush=True)
"""
"""Again and again, until it is killed."""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@contextlib.contextmanager
def maintenance(folder: Path, lake: Lake) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", MAINTAIN],
        cwd=folder,
        env=environment(folder, MG_LAKE_URI=lake.root),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def bodies(events: int, seed: int = 3) -> list[str]:
    plan = FeedPlan(seed=seed, events=events, start=NOW - timedelta(days=2), end=NOW)
    return [bundle.body for bundle in generate(plan).bundles]


def as_never_maintained(lake: Lake, messages: list[tuple[str, datetime]]) -> None:
    """Each table has as many rows as where the same messages came at once and were flattened at once."""
    other = Lake(f"{lake.root}-other")
    for number, day in enumerate({received_at for _, received_at in messages}):
        receive(other, [body for body, received_at in messages if received_at == day], first=number * len(messages), received_at=day)
    flatten_new(other)
    for table in silver_tables():
        assert len(column(lake, "silver", table, "message_id")) == len(column(other, "silver", table, "message_id")), table


def test_appends_to_the_very_partitions_that_are_rewritten_go_through(lake: Lake, tmp_path: Path) -> None:
    """Bronze and silver are written into a closed day and today's, while another process does nothing but compact and sort both."""
    feed = bodies(2_000)
    days = [NOW, NOW - timedelta(days=3)]
    messages = [(body, days[number % 2]) for number, body in enumerate(feed)]
    receive(lake, [messages[0][0]], first=0, received_at=messages[0][1])
    with maintenance(tmp_path, lake) as process, ThreadPoolExecutor(1) as pool:
        reports = pool.submit(lambda: process.stdout.read() if process.stdout else "")
        for number, (body, received_at) in enumerate(messages[1:], start=1):
            receive(lake, [body], first=number, received_at=received_at)
            if number % 3 == 0:
                flatten_new(lake)
        flatten_new(lake)
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        process.kill()
        said = reports.result()
    assert sum(int(line.split()[0]) for line in said.splitlines()) > 3
    assert sum(int(line.split()[1]) for line in said.splitlines()) > 3
    in_bronze_once(lake, [f"m{number}" for number in range(len(messages))])
    nothing_is_twice(lake)
    assert conservation(lake, above=0).holds
    as_never_maintained(lake, messages)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.faults), pytest.param(3, marks=pytest.mark.faults)])
def test_a_maintenance_killed_at_any_moment_harms_nothing(lake: Lake, tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    messages: list[tuple[str, datetime]] = []
    for round_ in range(4):
        for body in bodies(150, seed=10 * seed + round_):
            receive(lake, [body], first=len(messages), received_at=NOW - timedelta(days=rng.randrange(3)))
            messages.append((body, NOW))
            if len(messages) % 2:
                flatten_new(lake)
        before = _files(lake)
        with maintenance(tmp_path, lake) as process:
            enough = len(before) + rng.randrange(1, 6)
            deadline = time.monotonic() + rng.uniform(1.5, 4)
            while len(_files(lake)) < enough and time.monotonic() < deadline:
                pass
            process.kill()
        flatten_new(lake)
        in_bronze_once(lake, [f"m{number}" for number in range(len(messages))])
        nothing_is_twice(lake)
        assert conservation(lake, above=0).holds
    settings = Settings().model_copy(update={"keep_files_days": 0, "small_files": 2})
    for _ in range(2):  # what the first one commits, silver reads, and the second removes
        list(maintain(lake, settings))
        flatten_new(lake)
    list(maintain(lake, settings))
    named = {Path(uri) for layer, table in _tables(lake) if (handle := lake.open(layer, table)) for uri in handle.file_uris()}
    assert _files(lake) == named
    in_bronze_column = column(lake, "bronze", "event_feed", "message_id")
    assert sorted(in_bronze_column) == sorted(f"m{number}" for number in range(len(messages)))
    as_never_maintained(lake, messages)


def test_a_lake_on_s3_is_maintained_too(s3_server: S3Server, tmp_path: Path) -> None:
    with set_environment(environment(tmp_path, **s3_server.environment)):
        os.environ.pop("AWS_PROFILE", None)
        lake = Lake(s3_server.make_bucket("maintained") + "/some/prefix")
        few = [body for name, body in samples().items() if any(kind in name for kind in ("Click", "Delivered"))]
        for number in range(4):
            receive(lake, few, first=10 * number, received_at=NOW - timedelta(days=1))
            flatten_new(lake)
        before = pl.read_delta(lake.uri_of("bronze", "event_feed"), storage_options=lake.storage_options())
        settings = Settings(lake_uri=lake.uri).model_copy(update={"keep_files_days": 0, "small_files": 2})
        reports = {report.table: report for report in maintain(lake, settings)}
        assert (reports["event_feed"].merged, reports["event_feed"].files_after) == (1, 1)
        assert reports["event_feed"].removed.files == 4
        assert reports["deliveries"].files_after == 1
        bronze = pl.read_delta(lake.uri_of("bronze", "event_feed"), storage_options=lake.storage_options())
        assert bronze.sort("message_id").equals(before.sort("message_id"))
        receive(lake, few, first=100, received_at=NOW)
        assert flatten_new(lake).messages == len(few)
        nothing = [
            report for report in maintain(lake, settings.model_copy(update={"keep_files_days": 7})) if report.merged or report.sorted
        ]
        assert nothing == []


def _tables(lake: Lake) -> list[tuple[Layer, str]]:
    return [("bronze", "event_feed"), *(("silver", table) for table in silver_tables())]


def _files(lake: Lake) -> set[Path]:
    found = set()
    with contextlib.suppress(FileNotFoundError):
        found = {path for path in Path(lake.root).rglob("*.parquet") if "_delta_log" not in path.parts}
    return found
