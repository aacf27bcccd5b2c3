"""What a person sees and clicks in the Dagster UI, in a real browser."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl
import pytest
from deltalake import DeltaTable
from playwright.sync_api import Page, ViewportSize, expect

from mg_lakehouse.events.catalogue import activity_types, silver_tables
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.dagster.homes import PACKAGED
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.gold.helpers import MARTS
from mg_lakehouse_tests.lake.feeds import receive
from mg_lakehouse_tests.ui.screenshots import EXPANDED, expanded
from mg_lakehouse_tests.ui.services import Dev, browser, dev, processes_of_group
from mg_lakehouse_tests.waiting import wait_until

pytestmark = pytest.mark.ui

_MILLISECONDS = 1_000
_RUN: Final = 540
"""Seconds that a run may take that waits for its place behind others, on a machine that has other work."""
OF_THEN: Final = "an-open-of-some-days-ago"
THEN: Final = datetime.now(UTC) - timedelta(days=4)
WINDOW: Final[ViewportSize] = {"width": 1500, "height": 1000}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """It finds a message of some days ago in bronze, as if it had run then."""
    folder = tmp_path_factory.mktemp("dev")
    (folder / ".dagster").mkdir()
    # Of the five runs of this module each would wait for up to 5 s before the queue of runs is looked at.
    (folder / ".dagster" / "dagster.yaml").write_text(f"{PACKAGED}\nrun_queue:\n  dequeue_interval_seconds: 1\n")
    receive(Lake(f"{folder}/.lake"), [bundle(item("OpenActivity", ActivityId=OF_THEN))], received_at=THEN)
    # Every ingest has gold built, which takes both cores for half a minute: with one right after the other the UI answers late.
    with dev(folder, MG_SENSOR_SECONDS="300") as started:
        yield started


@pytest.fixture(scope="module")
def page(running: Dev) -> Iterator[Page]:
    with browser() as chromium:
        page = chromium.new_page(viewport=WINDOW, base_url=running.url)
        # Both: what is expected has a deadline of its own, of 5 s, which a machine that also runs the pipeline does not keep.
        page.set_default_timeout(60 * _MILLISECONDS)
        expect.set_options(timeout=60 * _MILLISECONDS)
        yield page


def graphql(running: Dev, query: str) -> dict[str, Any]:
    """What the UI's own interface answers, each time over a new connection: the server closes idle ones, and a browser's may be about to."""
    request = urllib.request.Request(
        f"{running.url}/graphql", data=json.dumps({"query": query}).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)["data"]
    return answer


@pytest.fixture
def elsewhere(page: Page) -> None:
    """The browser shows nothing while a test waits for runs: a page that follows them takes half a core, and the server as much."""
    page.goto("about:blank")


def test_the_graph_shows_the_queue_and_the_three_layers(page: Page) -> None:
    page.goto("/asset-groups")
    for group in ("messagegears", "bronze", "silver", "gold"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    page.get_by_text("Materialize all").wait_for()
    # What lies outside of the window is not drawn, and the graph is larger than any screen.
    page.set_viewport_size({"width": 3000, "height": 3600})
    try:
        page.keyboard.press("Alt+e")
        page.wait_for_url("**expanded=**")
        page.goto(f"/asset-groups?expanded={expanded('silver')}")
        expect(page.get_by_text("opens", exact=True).first).to_be_attached()
        page.goto(f"/asset-groups?expanded={EXPANDED}")
        for asset in ("event_feed_queue", "event_feed", "fct_messages", "job_metrics"):
            expect(page.get_by_text(asset, exact=True).first).to_be_attached()
    finally:
        page.set_viewport_size(WINDOW)


def test_the_catalogue_lists_every_table(running: Dev) -> None:
    nodes = graphql(running, "{ assetNodes { assetKey { path } isExecutable } }")["assetNodes"]
    executable = {"/".join(node["assetKey"]["path"]) for node in nodes if node["isExecutable"]}
    assert executable == {
        "bronze/event_feed",
        "bronze/account_activity",
        *(f"silver/{table}" for table in silver_tables()),
        *(f"gold/{mart}" for mart in MARTS),
        "gold/reconciliation",
    }


def test_the_page_of_an_asset_says_what_its_columns_are(page: Page) -> None:
    page.goto("/assets/silver/deliveries")
    expect(page.get_by_text("recipient_id", exact=True).first).to_be_visible()
    page.goto("/assets/gold/job_metrics")
    expect(page.get_by_text("bounce_rate", exact=True).first).to_be_attached()
    expect(page.get_by_text("Every count and rate of a job.")).to_be_visible()


@pytest.mark.usefixtures("elsewhere")
def test_assets_fill_while_one_watches(page: Page, running: Dev) -> None:
    """Nobody clicks: the sensor starts an ingest, and gold follows."""
    query = '{ assetOrError(assetKey: {path: ["gold", "job_metrics"]}) { ... on Asset { assetMaterializations(limit: 1) { runId } } } }'
    wait_until(lambda: bool(graphql(running, query)["assetOrError"].get("assetMaterializations")), seconds=_RUN)
    page.goto("/assets/gold/job_metrics")
    expect(page.get_by_text("Row count")).to_be_visible()
    page.goto("/runs")
    expect(page.get_by_text("event_feed_sensor").first).to_be_visible()
    expect(page.get_by_text("gold_automation").first).to_be_visible()
    assert pl.read_delta(f"{running.folder}/.lake/gold/job_metrics").height > 0


@pytest.mark.usefixtures("elsewhere")
def test_gold_follows_an_ingest_in_one_run(running: Dev) -> None:
    """Eight models that started eight runs would build on each other's halves."""
    query = '{ runsOrError(filter: {tags: [{key: "dagster/from_automation_condition", value: "true"}]}) { ... on Runs { results { assetSelection { path } } } } }'

    def selections() -> list[set[str]]:
        return [{each["path"][-1] for each in run["assetSelection"]} for run in graphql(running, query)["runsOrError"]["results"]]

    wait_until(lambda: bool(selections()), seconds=_RUN)
    assert all(selection == set(MARTS) for selection in selections())


def test_the_check_that_nothing_was_lost_is_seen_to_pass(page: Page) -> None:
    """Gold was built, which waits for the check."""
    page.goto("/assets/silver/rejected_items?view=checks")
    expect(page.get_by_text("This is a blocking asset check.")).to_be_visible()
    expect(page.get_by_text("Passed", exact=True)).to_be_visible()


@dataclass(frozen=True)
class Clicked:
    """What was started by clicking: pages of runs, ids of backfills."""

    gold: str
    bronze: str
    files: str
    silver: str


@pytest.fixture(scope="module")
def clicked(page: Page, running: Dev) -> Clicked:
    """All dialogs, one after the other: Dagster looks for backfills each half minute, and finds both at once."""
    table = f"{running.folder}/.lake/silver/opens"
    wait_until(lambda: _rows_of_then(table) == 1, seconds=_RUN)
    DeltaTable(table).delete(f"activity_id = '{OF_THEN}'")
    assert _rows_of_then(table) == 0
    page.goto("/assets/silver/opens")
    silver = _launch_backfill(page, f"[{THEN.date() - timedelta(days=1)}...{THEN.date() + timedelta(days=1)}]")
    page.goto("/assets/bronze/account_activity")
    files = _launch_backfill(page, f"{THEN.date()}", of_all_types=True)
    page.goto("/assets/bronze/event_feed")
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    page.get_by_role("button", name="Latest", exact=True).click()
    page.get_by_role("button", name="Launch 1 run").click()
    bronze = _page_of_run(page)
    page.goto("/assets/gold/job_metrics")
    page.get_by_role("button", name=re.compile("Materialize$")).first.click()
    return Clicked(_page_of_run(page), bronze, files, silver)


@pytest.mark.usefixtures("elsewhere")
def test_a_materialization_of_gold_started_by_clicking_succeeds(page: Page, running: Dev, clicked: Clicked) -> None:
    _see_it_succeed(page, running, clicked.gold)


@pytest.mark.usefixtures("elsewhere")
def test_a_materialization_of_todays_bronze_started_by_clicking_succeeds(page: Page, running: Dev, clicked: Clicked) -> None:
    _see_it_succeed(page, running, clicked.bronze)


@pytest.mark.usefixtures("elsewhere")
def test_a_days_files_are_fetched_by_the_backfill_dialog(running: Dev, clicked: Clicked) -> None:
    """All types of a day in one run: what there is of them comes into bronze."""
    wait_until(lambda: _status(running, clicked.files) == "COMPLETED_SUCCESS", seconds=_RUN)
    files = pl.read_delta(f"{running.folder}/.lake/bronze/account_activity", columns=["activity_date", "activity_type"]).unique()
    assert set(files["activity_type"]) == set(activity_types())
    assert files["activity_date"].unique().to_list() == [THEN.date()]


@pytest.mark.usefixtures("elsewhere")
def test_days_of_silver_are_made_anew_by_the_backfill_dialog(running: Dev, clicked: Clicked) -> None:
    """A row that somebody deleted is there again, as if nothing had been."""
    wait_until(lambda: _status(running, clicked.silver) == "COMPLETED_SUCCESS", seconds=_RUN)
    assert _rows_of_then(f"{running.folder}/.lake/silver/opens") == 1


def test_ctrl_c_ends_everything_that_it_started(running: Dev) -> None:
    """The last test, for afterwards there is no UI."""
    assert f"Dagster UI: {running.url}" in running.said()
    assert str(running.folder / ".lake") in running.said()
    assert urllib.request.urlopen(f"{running.url}/server_info").status == 200
    groups = running.groups()
    assert [processes_of_group(group) for group in groups] != [[]]
    assert running.interrupt() == 0
    assert [processes_of_group(group) for group in groups] == [[] for _ in groups]
    assert "Traceback" not in running.said()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", running.port)) != 0


def _launch_backfill(page: Page, days: str, *, of_all_types: bool = False) -> str:
    """Choose partitions in the dialog and launch; the id of the backfill."""
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    dialog = page.get_by_role("dialog")
    chosen, sure = dialog.get_by_placeholder(re.compile("^(ex: |No matching)")), page.get_by_role("button", name="Confirm")
    chosen.or_(sure).wait_for()
    if sure.is_visible():  # yesterday's files, or loaded ones, are not there: Dagster asks whether that is meant
        sure.click()
    chosen.fill(days)
    chosen.blur()  # what was typed counts when one leaves it
    if of_all_types:
        dialog.get_by_role("button", name="All", exact=True).last.click()
    expect(dialog.get_by_text("Backfills all partitions in a single run.")).to_be_visible()
    dialog.get_by_role("button", name="Launch backfill").click()
    created = page.get_by_text(re.compile(r"Created backfill \w+"))
    created.wait_for()
    return created.inner_text().split()[-1]


def _status(running: Dev, backfill: str) -> str:
    query = f'{{ partitionBackfillOrError(backfillId: "{backfill}") {{ ... on PartitionBackfill {{ status }} }} }}'
    status: str = graphql(running, query)["partitionBackfillOrError"]["status"]
    assert status not in {"FAILED", "COMPLETED_FAILED", "CANCELED"}, running.log()
    return status


def _rows_of_then(table: str) -> int:
    if not DeltaTable.is_deltatable(table):
        return 0
    return pl.read_delta(table, columns=["activity_id"]).filter(pl.col("activity_id") == OF_THEN).height


def _page_of_run(page: Page) -> str:
    """The page of the run that a dialog launched."""
    page.get_by_text(re.compile("Launched run")).wait_for()
    page.get_by_role("link", name=re.compile("View$")).or_(page.get_by_role("button", name=re.compile("View$"))).last.click()
    page.wait_for_url("**/runs/**")
    return page.url


def _see_it_succeed(page: Page, running: Dev, run: str) -> None:
    """Wait for the end of a run, and look at its page then."""
    query = f'{{ runOrError(runId: "{run.rpartition("/")[2]}") {{ ... on Run {{ status }} }} }}'
    wait_until(lambda: graphql(running, query)["runOrError"]["status"] in {"SUCCESS", "FAILURE", "CANCELED"}, seconds=_RUN)
    page.goto(run)
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
