"""Days of daily files are fetched while the feed runs, and what the queue lost is in the lake once, like everything else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.jobs import ACTIVITY_JOB, ACTIVITY_REPORT_JOB
from mg_lakehouse.dagster.partitions import activity_range
from mg_lakehouse.dagster.run_pass import run_once
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings, load_settings
from mg_lakehouse.testing.feed.feed import Feed, FeedPlan, generate
from mg_lakehouse.testing.feed.truth import TrueRow
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse.testing.web_service import ActivityApi, daily_files
from mg_lakehouse_tests.e2e.reckoned import KEY, LINEAGE, ZONE, gold_of, unlike
from mg_lakehouse_tests.lake.feeds import rows_of
from mg_lakehouse_tests.waiting import wait_until

pytestmark = pytest.mark.e2e

END: Final = datetime(2026, 3, 31, 20, tzinfo=UTC)
AS_OF: Final = END + timedelta(hours=5)
LAST: Final = date(2026, 3, 31)
TYPES: Final = ("OPENS", "CLICKS", "DELIVERIES", "BOUNCES")
TABLES: Final = ("opens", "clicks", "deliveries", "bounces")
LOST: Final = 7
"""The queue brings all bundles but each seventh."""

PIPELINE: Final = """
import sys
from pathlib import Path
from mg_lakehouse.dagster.run_pass import run_once
from mg_lakehouse.settings import load_settings

while not Path("stop").exists():
    result = run_once(load_settings(dotenv=None))
    with Path("passes").open("a") as passes:
        print(result.failures, file=passes)
    if not result.succeeded:
        sys.exit(1)
"""


@dataclass(frozen=True)
class Done:
    """The lake after it, and what it must be."""

    lake: Lake
    days: int
    brought: list[TrueRow]
    lost: list[TrueRow]
    fetched: dg.ExecuteInProcessResult
    compared: dict[str, Any]
    passes: list[str]
    left: int


def in_files(rows: list[TrueRow]) -> list[TrueRow]:
    return [row for row in rows if row.table in TABLES]


def split(feed: Feed, published: list[str]) -> tuple[list[TrueRow], list[TrueRow]]:
    """The true rows that the published bundles hold, and the others. An item may stand in several bundles."""
    text = "".join(published)
    found: tuple[list[TrueRow], list[TrueRow]] = ([], [])
    for row in feed.truth.rows:
        identity = row.values["activity_id"]
        found[(f">{identity}<" if identity else row.xml) not in text].append(row)
    return found


@pytest.fixture(scope="module", params=[pytest.param(9, id="days"), pytest.param(31, id="month", marks=pytest.mark.faults)])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """Each file is a commit, and while files are fetched the feed's passes go on: a month of them is for the long run."""
    folder = tmp_path_factory.mktemp("days")
    first = LAST - timedelta(days=request.param - 1)
    feed = generate(FeedPlan(seed=31, events=4_000, start=END - timedelta(days=request.param - 2), end=END, odd=0.0, malformed=0.0))
    published = [bundle.body for index, bundle in enumerate(feed.bundles) if index % LOST]
    files = {key: items for key, items in daily_files(feed).items() if key[1] in TYPES}
    brought, lost = split(feed, published)
    with SqsEmulator() as queue, ActivityApi(files, today=lambda: LAST + timedelta(days=1)) as api:
        of_lake = {"MG_LAKE_URI": str(folder / "lake"), "MG_PII_KEY": KEY, "MG_BUSINESS_TIMEZONE": ZONE, "MG_AS_OF": AS_OF.isoformat()}
        variables = queue.environment | api.environment | of_lake | {"MG_ACTIVITY_TYPES": ",".join(TYPES)}
        with set_environment(variables), dg.DagsterInstance.ephemeral() as instance:
            settings = load_settings(dotenv=None)
            # dbt's lines go to no pipe: one that nobody reads is full at 64 KiB, and the build would wait for ever.
            pipeline = subprocess.Popen([sys.executable, "-c", PIPELINE], cwd=folder, env=os.environ, stdout=subprocess.DEVNULL)
            publisher = threading.Thread(target=publish, args=(queue, published, folder / "passes"))
            publisher.start()
            try:
                fetched = run(settings, instance, ACTIVITY_JOB, tags=activity_range(settings, first, LAST))
                publisher.join(timeout=400)
                assert not publisher.is_alive()
            finally:
                (folder / "stop").touch()
                pipeline.wait(timeout=240)
            last = run_once(settings)
            days = {"first_day": first.isoformat(), "last_day": LAST.isoformat()}
            check = "bronze__account_activity_queue_lost_nothing"
            config = {"ops": {check: {"config": days}, "gold__reconciliation": {"config": days}}}
            report = run(settings, instance, ACTIVITY_REPORT_JOB, run_config=config)
            (compared,) = (each for each in report.get_asset_check_evaluations() if each.check_name == "queue_lost_nothing")
            numbers = {name: value.value for name, value in compared.metadata.items()}
            said = [*(folder / "passes").read_text().splitlines(), str(last.failures)]
            yield Done(Lake(settings.lake_uri), request.param, brought, lost, fetched, numbers, said, queue.depth())


def publish(queue: SqsEmulator, bodies: list[str], passes: Path) -> None:
    """Bundles in three parts, each when the one before has been received, the last when a pass has ended: the feed runs when the files come."""
    size = -(-len(bodies) // 3)
    for part, ended in enumerate((0, 0, 1)):
        wait_until(partial(_received, queue, passes, ended), seconds=400)
        queue.publish(bodies[part * size : (part + 1) * size], duplicates=0.05, seed=part)
    wait_until(partial(_received, queue, passes, 1), seconds=400)


def _received(queue: SqsEmulator, passes: Path, ended: int) -> bool:
    """Whether the queue is empty and so many passes have ended."""
    return queue.depth() == 0 and (ended == 0 or (passes.exists() and len(passes.read_text().splitlines()) >= ended))


def run(settings: Settings, instance: dg.DagsterInstance, job: str, **options: Any) -> dg.ExecuteInProcessResult:
    return build_definitions(settings).resolve_job_def(job).execute_in_process(instance=instance, **options)


def test_both_ran_to_their_end_side_by_side(done: Done) -> None:
    assert done.fetched.success
    assert done.left == 0
    assert len(done.passes) >= 3
    assert set(done.passes) == {"()"}
    assert len({event.partition for event in done.fetched.get_asset_materialization_events()}) == done.days * len(TYPES)


@pytest.mark.parametrize("table", [table for table in silver_tables() if table != "rejected_items"])
def test_every_event_of_the_two_is_one_row(done: Done, table: str) -> None:
    expected = [row for row in (*done.brought, *in_files(done.lost)) if row.table == table]
    found = [] if done.lake.open("silver", table) is None else rows_of(done.lake, "silver", table)["activity_id"].to_list()
    named = Counter(str(row.values["activity_id"]) for row in expected if row.values["activity_id"])
    assert Counter(each for each in found if not each.startswith("sha256:")) == named
    assert len(found) == len(set(found)) == len(expected)


def test_nothing_of_either_source_is_unaccounted_for(done: Done) -> None:
    for source in BRONZE_TABLES:
        if done.lake.open("bronze", source) is not None:
            assert conservation(done.lake, source=source, above=0).holds


def test_the_report_counts_every_event_of_the_files_on_one_side(done: Done) -> None:
    """What the queue lost is among those that only the files had, and so is what it brought after a file had: that copy was dropped."""
    assert len(in_files(done.lost)) > 100
    assert done.compared["events_in_files"] == len(in_files(done.brought)) + len(in_files(done.lost))
    assert done.compared["events_only_in_files"] + done.compared["events_in_both"] == done.compared["events_in_files"]
    assert done.compared["events_only_in_files"] >= len(in_files(done.lost))
    by_files = sum((rows_of(done.lake, "silver", table)["source"] == "account_activity").sum() for table in TABLES)
    assert done.compared["events_only_in_files"] == by_files


@pytest.fixture(scope="module")
def gold(done: Done) -> dict[str, list[dict[str, Any]]]:
    return gold_of(
        {
            table: rows_of(done.lake, "silver", table).drop(LINEAGE).to_dicts()
            for table in silver_tables()
            if table != "rejected_items" and done.lake.open("silver", table) is not None
        },
        AS_OF,
    )


@pytest.mark.parametrize("model", ["fct_messages", "job_metrics", "bounce_categories_daily", "suppression_list"])
def test_gold_is_the_reckoning_of_all_of_it(done: Done, gold: dict[str, list[dict[str, Any]]], model: str) -> None:
    """Built again and again while events of all the days came from both sides."""
    assert len(gold[model]) > 0
    assert unlike(done.lake, model, gold[model]) == ""
