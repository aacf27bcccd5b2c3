"""The sensor looks and decides; it receives and deletes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.jobs import INGEST_JOB
from mg_lakehouse.dagster.partitions import today
from mg_lakehouse.dagster.resources import EventFeedResource
from mg_lakehouse.dagster.sensors import decide
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import QueueDepth
from mg_lakehouse.testing.queue import EmbeddedQueue
from mg_lakehouse_tests.dagster.ticks import tick

SETTINGS = Settings(sensor_messages=100, sensor_seconds=30)


@pytest.mark.parametrize(
    ("visible", "running", "since", "start", "said"),
    [
        (0, False, None, False, "Nothing to do: 0 messages wait, 7 are in flight."),
        (5, True, 900.0, False, "An ingest is under way; 5 messages wait"),
        (5_000, True, 900.0, False, "An ingest is under way; 5,000 messages wait"),
        (100, False, 1.0, True, "100 messages wait, 7 are in flight; 100 start an ingest at once."),
        (99, False, 29.0, False, "an ingest starts at 100 messages or 30 s after the last, which was 29 s ago"),
        (99, False, 30.0, True, "30 s have passed since the last ingest"),
        (1, False, None, True, "1 messages wait"),
    ],
)
def test_the_decision(visible: int, running: bool, since: float | None, start: bool, said: str) -> None:
    decision = decide(QueueDepth(visible, 7, 0), running=running, seconds_since_last=since, settings=SETTINGS)
    assert decision.start is start
    assert said in decision.reason


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedQueue]:
    with EmbeddedQueue() as embedded:
        for name, value in embedded.environment.items():
            monkeypatch.setenv(name, value)
        yield embedded


def evaluate(instance: dg.DagsterInstance, url: str | None) -> dg.RunRequest | str:
    return tick(build_definitions(SETTINGS, resources={"event_feed": EventFeedResource(queue_url=url)}), "event_feed_sensor", instance)


def test_it_starts_an_ingest_of_today_when_messages_wait(queue: EmbeddedQueue) -> None:
    queue.publish(["<ActivityItems/>"])
    with dg.DagsterInstance.ephemeral() as instance:
        request = evaluate(instance, queue.queue_url)
    assert isinstance(request, dg.RunRequest)
    assert (request.partition_key, request.run_key) == (today(), None)
    # Queued before midnight and started after it, it must not make all of yesterday anew.
    assert request.run_config["ops"] == {"silver": {"config": {"rederive": False, "dry_run": False}}}
    assert queue.depth() == 1


def test_it_never_starts_a_second_ingest(queue: EmbeddedQueue) -> None:
    queue.publish(["<ActivityItems/>"])
    with dg.DagsterInstance.ephemeral() as instance:
        for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED):
            run = instance.add_run(dg.DagsterRun(job_name=INGEST_JOB, status=status))
            skipped = evaluate(instance, queue.queue_url)
            assert isinstance(skipped, str)
            assert "under way" in skipped
            instance.delete_run(run.run_id)


def test_looking_twice_takes_nothing(queue: EmbeddedQueue) -> None:
    queue.publish(["<ActivityItems/>"] * 3)
    with dg.DagsterInstance.ephemeral() as instance:
        evaluate(instance, queue.queue_url)
        evaluate(instance, queue.queue_url)
    counts = queue.client().get_queue_attributes(QueueUrl=queue.queue_url, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("3", "0")


def test_without_a_queue_it_skips_and_says_what_to_set() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        skipped = evaluate(instance, None)
    assert isinstance(skipped, str)
    assert "MG_QUEUE_URL" in skipped


def test_a_queue_that_does_not_exist_is_a_reason_not_a_crash(queue: EmbeddedQueue) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        skipped = evaluate(instance, queue.queue_url + "-gone")
    assert isinstance(skipped, str)
    assert "does not exist" in skipped
