"""The example project with two feeds: checked with ``dg``, and run from both queues to its own asset behind both lakes."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from mg_lakehouse.lake.duck import connect
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.lake.feeds import rows_of

pytestmark = pytest.mark.slow

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "two_feeds"
BIN: Final = Path(sys.executable).parent
ADDRESS: Final = "ada@gmail.com"
MARKETING_KEY: Final = "the key of the marketing lake"

RUN: Final = """
import json
import dagster as dg
from mg_lakehouse.dagster.partitions import today
from two_feeds.definitions import defs

definitions, found = defs(), {}
with dg.DagsterInstance.ephemeral() as instance:
    for feed in ("marketing", "transactional"):
        for job, partition in (("ingest", today()), ("gold", None)):
            result = definitions.resolve_job_def(f"{feed}_{job}").execute_in_process(instance=instance, partition_key=partition)
            found[f"{feed}_{job}"] = sorted(event.asset_key.to_user_string() for event in result.get_asset_materialization_events())
    own = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey("mail_of_both")]
    )
    (event,) = own.get_asset_materialization_events()
    found["days"] = [row.data for row in event.materialization.metadata["days"].records]
print(json.dumps(found))
"""
"""What the UI's buttons do, in one process."""


def delivery(identity: str) -> str:
    return item("DeliveredMessageActivity", ActivityId=identity, RequestId="j1", EmailAddress=ADDRESS)


def bounce(identity: str) -> str:
    return item("BouncedMessageActivity", ActivityId=identity, RequestId="j1", EmailAddress="gone@gmail.com", BounceCategory="Bad Mailbox")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "two_feeds"
    shutil.copytree(EXAMPLE, folder)
    return folder


def environment(**more: str) -> dict[str, str]:
    """No setting of ours, but one of another lake and key in the environment, as in the place where a first feed already runs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MG_", "DAGSTER_"))}
    path = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
    other = {"MG_LAKE_URI": "/nowhere/at/all", "MG_PII_KEY": "the key of another lake", "MG_QUEUE_URL": "https://nowhere.invalid/queue"}
    return kept | other | {"PATH": path, "PYTHONPATH": "src", "DAGSTER_DISABLE_TELEMETRY": "1"} | more


def run(project: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=project, env=environment(**variables), capture_output=True, text=True, check=False, timeout=240)


@pytest.fixture(scope="module")
def outcome(project: Path) -> Iterator[Mapping[str, Any]]:
    """Two deliveries and a bounce wait in the one queue, a delivery in the other. Activity and job ids are the same in both accounts."""
    with SqsEmulator(name="marketing") as sqs:
        transactional = sqs.account.create("transactional")
        sqs.publish([bundle(delivery("a1"), delivery("a2")), bundle(bounce("a3"))])
        transactional.send(bundle(delivery("a1")))
        addresses = {"MARKETING_QUEUE_URL": sqs.queue_url, "TRANSACTIONAL_QUEUE_URL": sqs.account.url_of(transactional)}
        known = {name: value for name, value in sqs.environment.items() if name.startswith("AWS_")}
        done = run(project, sys.executable, "-c", RUN, MARKETING_PII_KEY=MARKETING_KEY, **addresses, **known)
        assert done.returncode == 0, done.stderr[-4_000:]
        yield {**json.loads(done.stdout.splitlines()[-1]), "left": (sqs.depth(), sum(transactional.counts()))}


def test_all_of_it_loads_where_nothing_is_set(project: Path) -> None:
    done = run(project, "dg", "check", "defs")
    assert done.returncode == 0, done.stderr
    assert "All component YAML validated successfully." in done.stdout
    assert "All definitions loaded successfully." in done.stdout


def test_each_feed_fills_a_lake_of_its_own(project: Path, outcome: Mapping[str, Any]) -> None:
    assert outcome["left"] == (0, 0)
    lakes = {feed: Lake(str(project / ".lake" / feed)) for feed in ("marketing", "transactional")}
    assert sorted(rows_of(lakes["marketing"], "silver", "deliveries")["activity_id"]) == ["a1", "a2"]
    assert rows_of(lakes["marketing"], "silver", "bounces")["activity_id"].to_list() == ["a3"]
    assert rows_of(lakes["transactional"], "silver", "deliveries")["activity_id"].to_list() == ["a1"]
    assert lakes["transactional"].open("silver", "bounces") is None or rows_of(lakes["transactional"], "silver", "bounces").is_empty()
    # One mailbox of two that the one feed mailed; the other feed's lake knows of the one alone.
    assert len(rows_of(lakes["marketing"], "gold", "fct_messages")) == 2
    assert len(rows_of(lakes["transactional"], "gold", "fct_messages")) == 1


def test_the_assets_of_a_feed_have_its_name(outcome: Mapping[str, Any]) -> None:
    assert "marketing/bronze/event_feed" in outcome["marketing_ingest"]
    assert "marketing/silver/deliveries" in outcome["marketing_ingest"]
    assert "transactional/gold/job_metrics" in outcome["transactional_gold"]
    for job, assets in outcome.items():
        if job.endswith(("_ingest", "_gold")):
            assert {asset.split("/")[0] for asset in assets} == {job.split("_")[0]}


def test_a_feed_without_a_key_has_the_one_of_its_lake_and_not_that_of_another(project: Path, outcome: Mapping[str, Any]) -> None:
    assert outcome
    kept = (project / ".lake" / "transactional" / ".pii_key").read_bytes().strip()
    assert not (project / ".lake" / "marketing" / ".pii_key").exists()
    for feed, key in (("marketing", MARKETING_KEY.encode()), ("transactional", kept)):
        keys = rows_of(Lake(str(project / ".lake" / feed)), "gold", "fct_messages")["recipient_key"]
        assert f"email:{hmac.new(key, ADDRESS.encode(), hashlib.sha256).hexdigest()}" in keys.to_list()


def test_the_projects_own_asset_reads_both(outcome: Mapping[str, Any]) -> None:
    counts = {day["feed"]: (day["event_date"], day["delivery_events"], day["bounce_events"]) for day in outcome["days"]}
    assert counts == {"marketing": ("2026-02-28", "2", "1"), "transactional": ("2026-02-28", "1", "0")}


def test_both_catalogues_are_asked_at_once(project: Path, outcome: Mapping[str, Any]) -> None:
    assert outcome
    with connect(Lake(str(project))) as connection:
        for feed in ("marketing", "transactional"):
            connection.execute(f"attach '{project}/.lake/{feed}/catalog.duckdb' as {feed} (read_only)")
        asked = "select (select sum(accepted) from {0}.gold.job_metrics), (select sum(accepted) from {1}.gold.job_metrics)"
        assert connection.execute(asked.format("marketing", "transactional")).fetchone() == (1, 1)


def test_a_third_feed_is_scaffolded(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "two_feeds"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".lake"))
    done = run(copy, "dg", "scaffold", "defs", "mg_lakehouse.FeedComponent", "Order-Surveys")
    assert done.returncode == 0, done.stderr
    (file,) = (copy / "src" / "two_feeds" / "defs").glob("*urveys*/defs.yaml")
    assert yaml.safe_load(file.read_text()) == {
        "type": "mg_lakehouse.FeedComponent",
        "attributes": {
            "feed": "order_surveys",
            "queue_url": "{{ env.ORDER_SURVEYS_QUEUE_URL }}",
            "lake_uri": "{{ env('ORDER_SURVEYS_LAKE_URI', '.lake/order_surveys') }}",
        },
    }
