"""Kill the consumers for real, at every named point, and look at the invariants after every restart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

import pytest

from mg_lakehouse.demo.feed import Feed, FeedPlan, generate
from mg_lakehouse.demo.queue import EmbeddedQueue
from mg_lakehouse.stores.failpoints import Failpoint
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse_tests.faults.consumer import KILLED, Crash, start_consumer
from mg_lakehouse_tests.faults.held import expire, kept
from mg_lakehouse_tests.faults.invariants import everything_arrived, nothing_is_lost, nothing_is_twice

END: Final = datetime(2026, 3, 20, 12, tzinfo=UTC)
DEADLINE: Final = 60


class Trial:
    """A queue with a generated feed in it, and an empty lake."""

    def __init__(self, queue: EmbeddedQueue, lake: Lake, seed: int) -> None:
        self.queue = queue
        self.lake = lake
        self.feed: Feed = generate(FeedPlan(seed=seed, events=600, start=END - timedelta(days=3), end=END))
        numbers = range(len(self.feed.bundles))
        self.sent = [*numbers, *Random(seed).sample(numbers, len(numbers) // 4)]
        queue.publish([self.feed.bundles[number].body for number in self.sent])
        self.published = kept(queue)

    def run(self, *crashes: Crash | None) -> list[int | None]:
        """A consumer for each crash, at once; their exit codes. Then every held message is visible again."""
        consumers = [start_consumer(self.lake, self.queue.environment, crash) for crash in crashes]
        for consumer in consumers:
            consumer.join(DEADLINE)
            assert consumer.exitcode is not None, "a consumer hangs"
        nothing_is_lost(self.lake, self.published, kept(self.queue))
        nothing_is_twice(self.lake)
        expire(self.queue)
        return [consumer.exitcode for consumer in consumers]

    def finish(self) -> None:
        """Let one consumer run to its end."""
        assert self.run(None) == [0]
        assert kept(self.queue) == []
        everything_arrived(self.lake, self.published, self.feed, self.sent)


@pytest.fixture
def queue() -> Iterator[EmbeddedQueue]:
    with EmbeddedQueue() as embedded:
        yield embedded


POINTS: Final = [
    Crash(Failpoint.RECEIVED, 1),
    Crash(Failpoint.RECEIVED, 3),
    Crash(Failpoint.COMMIT_LOOKED, 1, "bronze"),
    Crash(Failpoint.COMMIT_LANDED, 1, "bronze"),
    Crash(Failpoint.COMMIT_LANDED, 2, "bronze"),
    Crash(Failpoint.BATCH_COMMITTED, 1),
    Crash(Failpoint.DELETED_SOME, 1),
    Crash(Failpoint.BATCH_DELETED, 2),
    Crash(Failpoint.SILVER_READ, 1),
    Crash(Failpoint.COMMIT_LOOKED, 3, "silver"),
    Crash(Failpoint.COMMIT_LANDED, 1, "silver"),
    Crash(Failpoint.COMMIT_LANDED, 9, "silver"),
    Crash(Failpoint.COMMIT_LANDED, 1, "rejected_items"),
]


@pytest.mark.parametrize("crash", POINTS, ids=str)
def test_a_consumer_killed_anywhere_loses_and_doubles_nothing(queue: EmbeddedQueue, tmp_path: Path, crash: Crash) -> None:
    trial = Trial(queue, Lake(str(tmp_path / "lake")), seed=1)
    assert trial.run(crash) == [KILLED]
    trial.finish()


@pytest.mark.parametrize("seed", range(2))
def test_four_consumers_killed_again_and_again_lose_and_double_nothing(queue: EmbeddedQueue, tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    trial = Trial(queue, Lake(str(tmp_path / "lake")), seed)
    for _ in range(2):
        trial.run(*rng.sample(POINTS, 4))
    assert trial.run(None, None, None, None) == [0, 0, 0, 0]
    trial.finish()
