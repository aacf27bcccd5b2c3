"""The ingest job in Dagster, and what keeps gold from building."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable

from mg_lakehouse.audit.conservation import Conservation
from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.checks import silver as checks
from mg_lakehouse.dagster.checks.hourly_balance import hours_balance_key
from mg_lakehouse.dagster.jobs import FLATTEN_JOB, GOLD_JOB, HOURLY_BALANCE_JOB, INGEST_JOB, STANDING_CHECKS_JOB
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import today
from mg_lakehouse.events.catalogue import Column
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings, load_settings
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.gold.helpers import MARTS
from mg_lakehouse_tests.lake.feeds import rows_of
from mg_lakehouse_tests.lake.releases import later_release

NAMES = Names()
CLICK = samples()["01_ClickActivity.xml"]
"""One table of silver instead of fifteen, where any message does."""


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[SqsEmulator]:
    with SqsEmulator() as embedded:
        for name, value in embedded.environment.items():
            monkeypatch.setenv(name, value)
        yield embedded


@pytest.fixture
def settings(queue: SqsEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("MG_LAKE_URI", str(tmp_path / "lake"))
    monkeypatch.chdir(tmp_path)
    return load_settings()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def ingest(settings: Settings, instance: dg.DagsterInstance, **options: Any) -> dg.ExecuteInProcessResult:
    job = build_definitions(settings).resolve_job_def(INGEST_JOB)
    return job.execute_in_process(instance=instance, **{"partition_key": today(), "raise_on_error": False, **options})


def test_an_ingest_drains_flattens_and_reports(queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance) -> None:
    queue.publish(samples().values())
    result = ingest(settings, instance)
    assert result.success
    assert queue.depth() == 0
    bronze = instance.get_latest_materialization_event(NAMES.event_feed)
    assert bronze is not None
    assert bronze.asset_materialization is not None
    numbers = {name: value.value for name, value in bronze.asset_materialization.metadata.items()}
    assert (numbers["messages_received"], numbers["messages_new"], numbers["messages_deleted"], numbers["dagster/row_count"]) == (
        17,
        17,
        17,
        17,
    )
    checked = {(check.asset_key.path[-1], check.check_name): check for check in result.get_asset_check_evaluations()}
    conservation = checked["rejected_items", "conservation"]
    assert conservation.passed
    # 17 samples of one item each; two are malformed as published.
    found = {name: value.value for name, value in conservation.metadata.items()}
    numbers = {"messages": 17, "items": 17, "rows": 15, "rejected": 2, "duplicates": 0}
    assert found == {**numbers, "set_aside": 0, "difference": 0, "uncovered": 0}
    assert not checked["rejected_items", "nothing_rejected"].passed
    assert checked["rejected_items", "nothing_rejected"].severity == dg.AssetCheckSeverity.WARN
    assert all(check.passed for (_, name), check in checked.items() if name == "unique_activity_id")


@pytest.mark.slow
def test_a_new_column_is_told_of_and_stops_neither_silver_nor_gold(
    queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance
) -> None:
    def run(activity: str) -> dg.ExecuteInProcessResult:
        queue.publish([bundle(item("ClickActivity", ActivityId=activity, RequestId="j1", RecipientId=activity, LinkTheme="dark"))])
        result = ingest(settings, instance)
        assert result.success
        return result

    def build_gold() -> None:
        assert build_definitions(settings).resolve_job_def(GOLD_JOB).execute_in_process(instance=instance, raise_on_error=False).success

    run("c1")
    build_gold()
    with later_release(clicks=Column("link_theme", "string", "Theme of the link.", ("LinkTheme",))):
        grown, after = run("c2"), run("c3")
        build_gold()
    lake = Lake(settings.lake_uri)
    assert rows_of(lake, "silver", "clicks").sort("activity_id")["link_theme"].to_list() == [None, "dark", "dark"]
    assert rows_of(lake, "gold", "job_metrics").filter(channel="email")["click_events"].to_list() == [3]
    told = [_added(result, NAMES.silver("clicks")) for result in (grown, after)]
    assert told == ["link_theme", None]
    logged = [record.user_message for record in instance.all_logs(grown.run_id) if "link_theme" in record.user_message]
    assert any("got the column link_theme" in line for line in logged)


def _added(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> object:
    (made,) = (event.materialization for event in result.get_asset_materialization_events() if event.asset_key == key)
    return made.metadata["columns_added"].value if "columns_added" in made.metadata else None


def test_a_release_that_is_older_than_the_lake_receives_nothing(
    queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance
) -> None:
    """Its rows would lack a column, and be taken for rows that have nothing in it."""
    Lake(settings.lake_uri).ensure(replace(EVENT_FEED, schema=pl.Schema({**EVENT_FEED.schema, "sent_by": pl.String()})))
    queue.publish([bundle(item("ClickActivity"))])
    result = ingest(settings, instance)
    assert not result.success
    failures = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    assert [failure.description.partition(" has ")[2] for failure in failures if failure is not None and failure.description] == [
        "the column sent_by, which this mg-lakehouse does not know, and would get rows without it: a newer release wrote here. Upgrade mg-lakehouse."
    ]
    assert queue.depth() == 1
    flattened = (
        build_definitions(settings)
        .resolve_job_def(FLATTEN_JOB)
        .execute_in_process(instance=instance, partition_key=today(), raise_on_error=False)
    )
    assert not flattened.success


def test_the_budget_of_a_run_is_kept(queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance) -> None:
    queue.publish(["<ActivityItems/>"] * 25)
    config = {"ops": {NAMES.event_feed.to_python_identifier(): {"config": {"max_messages": 12}}}}
    assert ingest(settings, instance, run_config=config).success
    assert rows_of(Lake(settings.lake_uri), "bronze", "event_feed").height == 12
    assert queue.depth() == 13


def test_a_past_day_cannot_be_received_again(queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance) -> None:
    queue.publish(["<ActivityItems/>"])
    result = ingest(settings, instance, partition_key="2026-01-01", asset_selection=[NAMES.event_feed])
    assert result.success
    event = instance.get_latest_materialization_event(NAMES.event_feed)
    assert event is not None
    assert event.asset_materialization is not None
    assert "cannot be received again" in str(event.asset_materialization.metadata["note"].value)
    assert queue.depth() == 1
    assert Lake(settings.lake_uri).open("bronze", "event_feed") is None


def broken(*_: object, **__: object) -> Conservation:
    return Conservation(messages=1, items=5, rows=3, duplicates=0, rejected=1, miscounted=())


def test_a_failed_blocking_check_keeps_gold_from_building(
    queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The automation runs gold after a good batch, and not after one whose conservation check failed."""
    definitions = build_definitions(settings)
    gold = [NAMES.gold(model) for model in MARTS]

    def wanted(cursor: Any = None) -> tuple[int, Any]:
        found = dg.evaluate_automation_conditions(definitions, instance, asset_selection=dg.AssetSelection.groups("gold"), cursor=cursor)
        return sum(found.get_num_requested(key) for key in gold), found.cursor

    count, cursor = wanted()
    assert count == 0
    queue.publish([CLICK])
    assert ingest(settings, instance).success
    count, cursor = wanted(cursor)
    assert count == len(gold) == len(MARTS)
    count, cursor = wanted(cursor)
    assert count == 0

    queue.publish([CLICK])
    with monkeypatch.context() as patched:
        patched.setattr(checks, "conservation", broken)
        failed = ingest(settings, instance)
    assert not failed.success
    count, cursor = wanted(cursor)
    assert count == 0

    # The next ingest waits to start, its checks are planned: the failure is still known. A person who clicks is told.
    ingest_job = definitions.resolve_job_def(INGEST_JOB)
    waiting = instance.create_run_for_job(ingest_job, status=dg.DagsterRunStatus.NOT_STARTED, tags={"dagster/partition": today()})
    count, cursor = wanted(cursor)
    assert count == 0
    by_hand = definitions.resolve_job_def(GOLD_JOB).execute_in_process(instance=instance, raise_on_error=False)
    (failure,) = (event for event in by_hand.all_events if event.event_type == dg.DagsterEventType.STEP_FAILURE)
    said = failure.step_failure_data.user_failure_data
    assert said is not None
    assert said.description is not None
    assert said.description.startswith("The blocking check conservation of silver/rejected_items failed, so gold was not changed")
    assert Lake(settings.lake_uri).open("gold", "fct_messages") is None

    # A batch that adds up sets gold free again, and an ingest under way does not hold it back.
    instance.report_run_canceled(waiting)
    queue.publish([CLICK])
    assert ingest(settings, instance).success
    count, cursor = wanted(cursor)
    assert count == len(gold)
    queue.publish([CLICK])
    assert ingest(settings, instance).success
    instance.create_run_for_job(ingest_job, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": today()})
    count, cursor = wanted(cursor)
    assert count == len(gold)
    evaluations = failed.get_asset_check_evaluations()
    (conservation,) = (check for check in evaluations if check.check_name == "conservation")
    assert not conservation.passed
    assert conservation.description == "1 items are nowhere; bronze has them all."


def test_a_failed_blocking_check_stops_what_lies_behind_it_in_the_same_run(
    queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "conservation", broken)
    definitions = build_definitions(settings)
    selected = dg.AssetSelection.assets(NAMES.event_feed) | dg.AssetSelection.groups("silver", "gold")
    everything = dg.define_asset_job("everything", selected, executor_def=dg.in_process_executor)
    queue.publish([CLICK])
    job = dg.Definitions.merge(definitions, dg.Definitions(jobs=[everything])).resolve_job_def("everything")
    result = job.execute_in_process(instance=instance, partition_key=today(), raise_on_error=False)
    assert not result.success
    assert instance.get_latest_materialization_event(NAMES.silver("clicks")) is not None
    assert instance.get_latest_materialization_event(NAMES.gold("fct_messages")) is None


def test_executing_a_failed_check_again_sets_gold_free(
    queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = dg.AssetCheckKey(NAMES.silver("rejected_items"), checks.CONSERVATION)
    queue.publish(samples().values())
    with monkeypatch.context() as patched:
        patched.setattr(checks, "conservation", broken)
        assert not ingest(settings, instance).success
    assert checks.failed_blocking_check(NAMES, instance) == key
    again = dg.define_asset_job("again", dg.AssetSelection.checks(key), executor_def=dg.in_process_executor)
    job = dg.Definitions.merge(build_definitions(settings), dg.Definitions(jobs=[again])).resolve_job_def("again")
    result = job.execute_in_process(instance=instance)
    assert checks.failed_blocking_check(NAMES, instance) is None
    # It added up the batch again, not nothing.
    (check,) = result.get_asset_check_evaluations()
    assert check.metadata["items"].value == 17


def test_an_hour_that_does_not_balance_blocks_gold(queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance) -> None:
    queue.publish(samples().values())
    assert ingest(settings, instance).success
    job = build_definitions(settings).resolve_job_def(HOURLY_BALANCE_JOB)
    result = job.execute_in_process(instance=instance)
    (check,) = result.get_asset_check_evaluations()
    numbers = {name: value.value for name, value in check.metadata.items()}
    assert (check.passed, numbers["messages"], numbers["items"], numbers["items_missing"]) == (True, 17, 17, 0)
    assert checks.failed_blocking_check(NAMES, instance) is None

    DeltaTable(Lake(settings.lake_uri).uri_of("silver", "clicks")).delete()
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.metadata["items_missing"].value == 1
    assert "Run `mg-lakehouse reconcile` for the numbers." in (check.description or "")
    assert checks.failed_blocking_check(NAMES, instance) == hours_balance_key(NAMES)


def test_the_standing_checks_see_a_copied_row(queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance) -> None:
    queue.publish([CLICK])
    assert ingest(settings, instance).success
    lake = Lake(settings.lake_uri)
    job = build_definitions(settings).resolve_job_def(STANDING_CHECKS_JOB)

    def failed() -> set[tuple[str, str]]:
        result = job.execute_in_process(instance=instance)
        return {(check.asset_key.path[-1], check.check_name) for check in result.get_asset_check_evaluations() if not check.passed}

    assert failed() == set()
    rows_of(lake, "silver", "clicks").with_columns(pl.lit("x").alias("new_column")).write_delta(
        lake.uri_of("silver", "clicks"), mode="append", delta_write_options={"schema_mode": "merge"}
    )
    assert failed() == {("clicks", "unique_activity_id_ever"), ("clicks", "schema_as_catalogued")}


def test_a_queue_that_is_gone_fails_the_run_in_one_sentence(queue: SqsEmulator, settings: Settings, instance: dg.DagsterInstance) -> None:
    gone = settings.model_copy(update={"queue_url": f"{queue.queue_url}-gone"})
    result = ingest(gone, instance)
    assert not result.success
    (failure,) = (event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_FAILURE)
    said = failure.step_failure_data.user_failure_data
    assert said is not None
    assert said.description == f"The queue {queue.queue_url}-gone does not exist: correct MG_QUEUE_URL, or the region and account it names."
    assert not any(event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)


def test_the_jobs_are_the_ones_that_are_documented(settings: Settings) -> None:
    names = {job.name for job in build_definitions(settings).resolve_all_job_defs()}
    assert {INGEST_JOB, GOLD_JOB, STANDING_CHECKS_JOB} <= names
