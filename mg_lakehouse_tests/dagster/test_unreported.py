"""A step that is tried again, or a run after one that failed, reports what was committed and told nobody: not zero, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mg_lakehouse.dagster.assets import event_feed as event_feed_module
from mg_lakehouse.dagster.assets import silver as silver_module
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.checks.silver import silver_check_results
from mg_lakehouse.dagster.jobs import INGEST_JOB
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import today
from mg_lakehouse.errors import LakehouseError, PermanentError, TransientError
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.settings import Settings
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.faults.scenarios import at

NAMES = Names()

SILVER = {"rows": 15, "rejected": 2, "messages": 17, "items": 17}
"""What the 17 samples become: two are malformed as published."""

NOTHING = dict.fromkeys(SILVER, 0)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[SqsEmulator]:
    with SqsEmulator() as embedded:
        for name, value in embedded.environment.items():
            monkeypatch.setenv(name, value)
        embedded.publish(samples().values())
        yield embedded


@pytest.fixture
def settings(queue: SqsEmulator, tmp_path: Path) -> Settings:
    return Settings(lake_uri=str(tmp_path / "lake"), queue_url=queue.queue_url, wait_seconds=0)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is tried again without a pause."""
    for module in (event_feed_module, silver_module):
        monkeypatch.setattr(module, "RETRY_TRANSIENT", dg.RetryPolicy(max_retries=1))


def ingested(settings: Settings, instance: dg.DagsterInstance) -> bool:
    job = build_definitions(settings).resolve_job_def(INGEST_JOB)
    return job.execute_in_process(instance=instance, partition_key=today(), raise_on_error=False).success


def numbers(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def of_bronze(instance: dg.DagsterInstance) -> dict[str, int]:
    found = numbers(instance, NAMES.event_feed)
    return {name: found[f"messages_{name}"] for name in ("received", "new", "already_in_bronze")} | {"commits": found["commits"]}


def of_silver(instance: dg.DagsterInstance) -> dict[str, int]:
    rejected = numbers(instance, NAMES.silver("rejected_items"))
    assert sum(rejected["rejected"].values()) == rejected["rows_added"]
    rows = sum(numbers(instance, NAMES.silver(table))["rows_added"] for table in silver_tables() if table != "rejected_items")
    return {"rows": rows, "rejected": rejected["rows_added"], "messages": rejected["messages"], "items": rejected["items"]}


def once(error: type[LakehouseError]) -> Callable[..., None]:
    """A fault that strikes once."""
    struck: list[bool] = []

    def strike(*_: object) -> None:
        if not struck:
            struck.append(True)
            raise error("The power went.")

    return strike


def test_bronze_tried_again_after_its_commit_reports_it(settings: Settings, instance: dg.DagsterInstance) -> None:
    with at(Failpoint.BATCH_COMMITTED, once(TransientError)):
        assert ingested(settings, instance)
    # All came twice, for nothing was deleted.
    assert of_bronze(instance) == {"received": 34, "new": 17, "already_in_bronze": 17, "commits": 1}
    assert of_silver(instance) == SILVER


def test_a_run_after_one_that_died_behind_bronzes_commit_reports_it(settings: Settings, instance: dg.DagsterInstance) -> None:
    with at(Failpoint.BATCH_COMMITTED, once(PermanentError)):
        assert not ingested(settings, instance)
    assert instance.get_latest_materialization_event(NAMES.event_feed) is None
    assert ingested(settings, instance)
    assert of_bronze(instance) == {"received": 34, "new": 17, "already_in_bronze": 17, "commits": 1}
    assert ingested(settings, instance)
    assert of_bronze(instance) == {"received": 0, "new": 0, "already_in_bronze": 0, "commits": 0}


@pytest.mark.parametrize("error", [TransientError, PermanentError], ids=["tried again", "run again"])
def test_silver_that_fails_between_its_commits_and_its_report_reports_them_afterwards(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, error: type[LakehouseError]
) -> None:
    checks, strike = silver_check_results, once(error)

    def struck(*arguments: Any, **named: Any) -> Any:
        strike()
        return checks(*arguments, **named)

    monkeypatch.setattr(silver_module, "silver_check_results", struck)
    assert ingested(settings, instance) == (error is TransientError)
    assert error is TransientError or ingested(settings, instance)
    assert of_silver(instance) == SILVER
    assert ingested(settings, instance)
    assert of_silver(instance) == NOTHING


@pytest.mark.parametrize("table", ["clicks", "rejected_items"])
def test_a_slice_that_was_half_committed_is_reported_once(settings: Settings, instance: dg.DagsterInstance, table: str) -> None:
    with at(Failpoint.COMMIT_DECIDED, once(PermanentError), about=f"silver/{table}"):
        assert not ingested(settings, instance)
    assert ingested(settings, instance)
    assert of_silver(instance) == SILVER
    assert ingested(settings, instance)
    assert of_silver(instance) == NOTHING


def test_what_was_reported_is_not_reported_again_after_a_failure(
    queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ingested(settings, instance)
    queue.publish([samples()["01_ClickActivity.xml"].replace("<ActivityId>", "<ActivityId>x")])
    with monkeypatch.context() as patched:
        patched.setattr(silver_module, "silver_check_results", once(PermanentError))
        assert not ingested(settings, instance)
    assert of_bronze(instance) == {"received": 1, "new": 1, "already_in_bronze": 0, "commits": 1}
    assert ingested(settings, instance)
    assert of_bronze(instance) == {"received": 0, "new": 0, "already_in_bronze": 0, "commits": 0}
    assert of_silver(instance) == {"rows": 1, "rejected": 0, "messages": 1, "items": 1}
