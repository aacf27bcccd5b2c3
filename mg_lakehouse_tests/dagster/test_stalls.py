"""Messages wait and nothing ingests: the check says so without a run, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.plan.objects import StepFailureData, UserFailureData
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, SensorInstigatorData
from dagster_shared.error import SerializableErrorInfo

from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.resources import EventFeedResource
from mg_lakehouse.dagster.stalls import Stall, find_stall
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import QueueDepth
from mg_lakehouse_tests.dagster.homes import POOLS_ONLY, add_run, beat_ago, home, take
from mg_lakehouse_tests.lake.feeds import bundles, receive
from mg_lakehouse_tests.standins.sqs import SqsStandIn

NAMES = Names()
WAITING = QueueDepth(7, 0, 0)
REPOSITORY = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("mg_lakehouse"), "__repository__")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with home(tmp_path / "home") as made:
        yield made


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def stall(instance: dg.DagsterInstance, lake: Lake, minutes: float | None = 16, depth: QueueDepth = WAITING) -> Stall | None:
    """What is found when messages have waited for so many minutes."""
    since = None if minutes is None else datetime.now(UTC) - timedelta(minutes=minutes)
    return find_stall(instance, NAMES, lake, Settings(), depth=depth, waiting_since=since)


def test_it_fails_after_fifteen_minutes_and_no_sooner(instance: dg.DagsterInstance, lake: Lake) -> None:
    assert stall(instance, lake, 14) is None
    assert stall(instance, lake, 900, QueueDepth(0, 5, 0)) is None
    found = stall(instance, lake, 16)
    assert found is not None
    assert (
        found.text == "7 messages wait, and nothing was ingested for 16 minutes. No ingest was started: see the ticks of event_feed_sensor."
    )


def test_a_commit_of_whoever_it_was_is_an_ingest(instance: dg.DagsterInstance, lake: Lake) -> None:
    receive(lake, bundles(1))
    assert stall(instance, lake, 900) is None


def test_an_ingest_that_waits_names_the_run_that_holds_its_place(instance: dg.DagsterInstance, lake: Lake) -> None:
    waiting, dead = add_run(instance), add_run(instance, "gold")
    assert take(instance, "mg_silver", dead)
    assert not take(instance, "mg_silver", waiting)
    beat_ago(instance, dead, 180)
    # The newest run of the job is the one that waits.
    found = stall(instance, lake)
    assert found is not None
    assert found.text.endswith(
        f"An ingest is queued behind another run. Run {dead[:8]} (gold) holds mg_silver. Its heart stopped 3 minutes ago."
    )


def test_an_ingest_in_dagsters_queue_names_it_too(instance: dg.DagsterInstance, lake: Lake) -> None:
    """Dagster does not launch it before the place is free, so that it stands in no line."""
    dead = add_run(instance)
    assert take(instance, "mg_bronze", dead)
    beat_ago(instance, dead, 180)
    instance.add_run(dg.DagsterRun("ingest", status=dg.DagsterRunStatus.QUEUED, remote_job_origin=RemoteJobOrigin(REPOSITORY, "ingest")))
    found = stall(instance, lake)
    assert found is not None
    assert found.text.endswith(f"Run {dead[:8]} (ingest) holds mg_bronze. Its heart stopped 3 minutes ago.")


def test_an_ingest_that_commits_nothing_is_named(instance: dg.DagsterInstance, lake: Lake) -> None:
    slow = add_run(instance)
    found = stall(instance, lake)
    assert found is not None
    assert f"Run {slow[:8]} (ingest) has been under way for" in found.text


def test_a_sensor_that_somebody_stopped_is_named(instance: dg.DagsterInstance, lake: Lake) -> None:
    sensor = build_definitions(Settings()).resolve_sensor_def("event_feed_sensor")
    stop(instance, sensor.name)
    found = stall(instance, lake)
    assert found is not None
    assert found.text.endswith("The sensor event_feed_sensor is stopped: start it in the UI.")


def stop(instance: dg.DagsterInstance, sensor: str) -> None:
    origin = RemoteInstigatorOrigin(REPOSITORY, sensor)
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.STOPPED, SensorInstigatorData()))


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (UserFailureData("", "The queue does not exist.", {}), "The queue does not exist."),  # type: ignore[no-untyped-call]
        (None, "See its log."),
    ],
)
def test_our_own_sentence_on_the_last_failure_is_said_and_nobody_elses(
    instance: dg.DagsterInstance, lake: Lake, ours: UserFailureData | None, said: str
) -> None:
    """What a library says may hold anything of a message."""
    failed = add_run(instance, status=dg.DagsterRunStatus.FAILURE)
    theirs = SerializableErrorInfo("could not parse ada@example.com", [], "ValueError")
    data: Any = StepFailureData(theirs, ours)  # type: ignore[no-untyped-call]
    event = dg.DagsterEvent(dg.DagsterEventType.STEP_FAILURE.value, "ingest", event_specific_data=data, step_key="bronze__event_feed")
    instance.report_dagster_event(event, run_id=failed)
    found = stall(instance, lake)
    assert found is not None
    assert found.text.endswith(f"The last ingest, Run {failed[:8]} (ingest), ended as failure. {said}")


class Ticks:
    """Ticks of the sensor, whose cursor goes on."""

    def __init__(self, instance: dg.DagsterInstance, lake: Lake, sqs: SqsStandIn, **settings: Any) -> None:
        self.instance = instance
        self.cursor: str | None = None
        self._definitions = build_definitions(
            Settings(lake_uri=lake.root, **settings), resources={"event_feed": EventFeedResource(queue_url=sqs.queue_url)}
        )

    def tick(self) -> str | None:
        sensor = self._definitions.resolve_sensor_def("liveness_sensor")
        resources = {
            name: resource for name, resource in (self._definitions.resources or {}).items() if name in sensor.required_resource_keys
        }
        with dg.build_sensor_context(
            instance=self.instance, definitions=self._definitions, resources=resources, cursor=self.cursor
        ) as context:
            asked = sensor.evaluate_tick(context)
        self.cursor = asked.cursor
        return asked.skip_message

    def waited(self, minutes: float) -> None:
        """As if so much time had passed since the first tick."""
        remembered = json.loads(self.cursor or "{}")
        remembered["waiting_since"] = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
        self.cursor = json.dumps(remembered)

    def evaluations(self) -> list[Any]:
        """Newest first."""
        history = self.instance.event_log_storage.get_asset_check_execution_history(NAMES.messages_are_ingested, limit=10)
        return [record.evaluation for record in history]


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[SqsStandIn]:
    with SqsStandIn(seed=1) as standin:
        for name, value in standin.environment.items():
            monkeypatch.setenv(name, value)
        yield standin


def test_the_sensor_stores_an_outcome_when_it_changes_and_not_at_each_tick(
    instance: dg.DagsterInstance, lake: Lake, sqs: SqsStandIn
) -> None:
    ticks = Ticks(instance, lake, sqs)
    sqs.publish(bundles(3))
    ticks.tick()
    ticks.tick()
    assert [each.passed for each in ticks.evaluations()] == [True]
    ticks.waited(20)
    for _ in range(3):
        said = ticks.tick()
        assert said is not None
        assert "3 messages wait, and nothing was ingested for 20 minutes." in said
    failed, _ = ticks.evaluations()
    assert (failed.passed, failed.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert failed.description == said
    assert [alert["severity"] for alert in failed.metadata["alerts"].value] == ["error"]
    sqs.queue.purge()
    ticks.tick()
    assert [each.passed for each in ticks.evaluations()] == [True, False, True]


def test_the_check_tells_a_home_of_before_what_it_lacks(tmp_path: Path, lake: Lake, sqs: SqsStandIn) -> None:
    with home(tmp_path / "old", POOLS_ONLY) as old:
        ticks = Ticks(old, lake, sqs)
        ticks.tick()
        (evaluation,) = ticks.evaluations()
    assert "free_slots_after_run_end_seconds" in evaluation.metadata["instance"].value


def test_the_sensor_ends_dead_runs_where_the_others_are_stopped(instance: dg.DagsterInstance, lake: Lake, sqs: SqsStandIn) -> None:
    dead = add_run(instance)
    beat_ago(instance, dead, 600, asked=30)
    said = Ticks(instance, lake, sqs).tick()
    assert said is not None
    assert f"Run {dead[:8]} (ingest), whose heart stopped 10 minutes ago" in said


def test_a_lake_that_cannot_be_asked_is_the_reason(instance: dg.DagsterInstance, tmp_path: Path, sqs: SqsStandIn) -> None:
    log = tmp_path / "lake" / "bronze" / "event_feed" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("no log")
    sqs.publish(bundles(1))
    ticks = Ticks(instance, Lake(str(tmp_path / "lake")), sqs)
    ticks.tick()
    ticks.waited(20)
    ticks.tick()
    failed = ticks.evaluations()[0]
    assert not failed.passed
    assert "bronze/event_feed" in failed.description
    assert "under way" not in failed.description
    assert "No ingest was started" not in failed.description
