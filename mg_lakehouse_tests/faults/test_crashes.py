"""Kill the consumers for real, at every named point, and look at the invariants after every restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet
from deltalake import DeltaTable

from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.testing.feed.feed import Feed, FeedPlan, generate
from mg_lakehouse.testing.sqs import Fault, SqsEmulator, VirtualClock
from mg_lakehouse_tests.faults.consumer import KILLED, VISIBILITY, Crash, start_consumer
from mg_lakehouse_tests.faults.invariants import Guard, everything_arrived, nothing_is_lost, nothing_is_twice

pytestmark = pytest.mark.slow

END: Final = datetime(2026, 3, 20, 12, tzinfo=UTC)
DEADLINE: Final = 60


class Trial:
    """A queue with a generated feed in it, which outlives its consumers, and an empty lake."""

    def __init__(self, sqs: SqsEmulator, lake: Lake, seed: int) -> None:
        self.sqs = sqs
        self.lake = lake
        self.feed: Feed = generate(FeedPlan(seed=seed, events=600, start=END - timedelta(days=3), end=END))
        numbers = range(len(self.feed.bundles))
        self.sent = [*numbers, *Random(seed).sample(numbers, len(numbers) // 4)]
        self.published = sqs.publish([self.feed.bundles[number].body for number in self.sent])
        self.guard = Guard(sqs.queue, lake)

    def run(self, *crashes: Crash | None) -> list[int | None]:
        """A consumer for each crash, at once; their exit codes."""
        consumers = [start_consumer(self.lake, self.sqs.environment, crash) for crash in crashes]
        return self._look_at(consumers)

    def run_and_kill(self, when: Callable[[], bool]) -> list[int | None]:
        """A consumer that is killed from outside as soon as something is seen, or ends before."""
        consumer = start_consumer(self.lake, self.sqs.environment)
        while consumer.is_alive() and not when():
            pass
        consumer.kill()
        return self._look_at([consumer])

    def files(self) -> set[Path]:
        """All files of the lake, half-written ones included."""
        return {path for path in Path(self.lake.root).rglob("*.parquet*") if "_delta_log" not in path.parts}

    def _look_at(self, consumers: list[BaseProcess]) -> list[int | None]:
        """Wait for their ends. At each, the visibility of all that is held runs out, by whomever: the living get what the dead held, and
        some of what they hold themselves, and delete with handles that SQS has overtaken."""
        alive = {consumer.sentinel for consumer in consumers}
        while alive:
            ended = wait(list(alive), DEADLINE)
            assert ended, "a consumer hangs"
            alive -= set(ended)
            assert isinstance(self.sqs.clock, VirtualClock)
            self.sqs.clock.advance(VISIBILITY + 1)
        for consumer in consumers:
            consumer.join()
        assert self.guard.lost == []
        nothing_is_lost(self.lake, self.published, self.sqs.queue.message_ids())
        nothing_is_twice(self.lake)
        return [consumer.exitcode for consumer in consumers]

    def finish(self) -> None:
        """Let one consumer run to its end, with nothing in its way, and another one if the first left anything.

        A receive that a dead consumer had asked for may be answered after its death was seen to: ten messages are hidden then until
        the first consumer's end, when the visibility of all that is held runs out again.
        """
        self.sqs.faults.clear()
        assert self.run(None) == [0]
        if self.sqs.queue.message_ids():
            assert self.run(None) == [0]
        assert self.sqs.queue.message_ids() == []
        everything_arrived(self.lake, self.published, self.feed, self.sent)

    def have_sqs_deliver_twice(self, seed: int) -> None:
        """Have two consumers hold some messages at once, and some come back that were deleted."""
        self.sqs.faults.add(Fault.DELIVERED_TWICE, "ReceiveMessage", probability=0.1, seed=seed)
        self.sqs.faults.add(Fault.DELETED_RETURNS, "DeleteMessageBatch", probability=0.1, seed=seed)


@pytest.fixture
def sqs() -> Iterator[SqsEmulator]:
    with SqsEmulator(clock=VirtualClock(), seed=1) as emulator:
        yield emulator


POINTS: Final = [
    Crash(Failpoint.RECEIVED, 1),
    Crash(Failpoint.COMMIT_DECIDED, 1, "bronze"),
    Crash(Failpoint.COMMIT_DONE, 2, "bronze"),
    Crash(Failpoint.BATCH_COMMITTED, 1),
    Crash(Failpoint.DELETED_SOME, 1),
    Crash(Failpoint.BATCH_DELETED, 2),
    Crash(Failpoint.SILVER_READ, 1),
    Crash(Failpoint.COMMIT_DECIDED, 3, "silver"),
    Crash(Failpoint.COMMIT_DONE, 9, "silver"),
    Crash(Failpoint.IDS_WRITTEN, 5),
    Crash(Failpoint.COMMIT_DONE, 1, "rejected_items"),
]
"""Each place where a consumer can die, once."""

EVERY_POINT: Final = [
    *POINTS,
    Crash(Failpoint.RECEIVED, 3),
    Crash(Failpoint.COMMIT_DONE, 1, "bronze"),
    Crash(Failpoint.COMMIT_DONE, 1, "silver"),
    Crash(Failpoint.IDS_WRITTEN, 1),
]
"""Those of the long run."""


def long(values: Sequence[object]) -> list[ParameterSet]:
    """Of these values the first is of each run, the others of the long one."""
    return [pytest.param(value, marks=pytest.mark.faults if number else ()) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    "crash", [*POINTS, *(pytest.param(crash, marks=pytest.mark.faults) for crash in EVERY_POINT[len(POINTS) :])], ids=str
)
def test_a_consumer_killed_anywhere_loses_and_doubles_nothing(sqs: SqsEmulator, tmp_path: Path, crash: Crash) -> None:
    trial = Trial(sqs, Lake(str(tmp_path / "lake")), seed=1)
    assert trial.run(crash) == [KILLED]
    trial.finish()


@pytest.mark.parametrize("seed", long([1, 0, 2]))
def test_a_consumer_killed_with_a_parquet_file_and_no_commit_leaves_an_orphan_and_nothing_else(
    sqs: SqsEmulator, tmp_path: Path, seed: int
) -> None:
    """The nth file of the lake is there, or begun; its commit mostly is not."""
    trial = Trial(sqs, Lake(str(tmp_path / "lake")), seed)
    assert trial.run_and_kill(lambda: len(trial.files()) > 3 * seed) in ([KILLED], [0])
    trial.finish()
    for path in Path(trial.lake.root).glob("*/*"):
        DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    everything_arrived(trial.lake, trial.published, trial.feed, trial.sent)
    named = {Path(file) for path in Path(trial.lake.root).glob("*/*") for file in DeltaTable(path).file_uris()}
    assert {path for path in trial.files() if path.suffix == ".parquet"} == named


@pytest.mark.parametrize("seed", long(range(4)))
def test_a_consumer_killed_at_any_moment_loses_and_doubles_nothing(sqs: SqsEmulator, tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    trial = Trial(sqs, Lake(str(tmp_path / "lake")), seed)
    for _ in range(3):
        moment = time.monotonic() + rng.uniform(0.05, 0.8)
        trial.run_and_kill(lambda moment=moment: time.monotonic() > moment)  # type: ignore[misc]
    trial.finish()


@pytest.mark.parametrize("seed", long(range(2)))
def test_four_consumers_killed_again_and_again_lose_and_double_nothing(sqs: SqsEmulator, tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    trial = Trial(sqs, Lake(str(tmp_path / "lake")), seed)
    trial.have_sqs_deliver_twice(seed)
    for _ in range(2):
        trial.run(*rng.sample(EVERY_POINT, 4))
    assert trial.run(None, None, None, None) == [0, 0, 0, 0]
    trial.finish()


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(100, 108))
@pytest.mark.parametrize("crash", [None, *EVERY_POINT], ids=str)
def test_the_long_matrix(sqs: SqsEmulator, tmp_path: Path, crash: Crash | None, seed: int) -> None:
    """One consumer killed at the point, then four at once with the point among theirs; `None` stands for random moments."""
    rng = Random(seed)
    trial = Trial(sqs, Lake(str(tmp_path / "lake")), seed)
    if crash is None:
        for _ in range(5):
            moment = time.monotonic() + rng.uniform(0.02, 1.5)
            trial.run_and_kill(lambda moment=moment: time.monotonic() > moment)  # type: ignore[misc]
    else:
        trial.run(crash)
        trial.have_sqs_deliver_twice(seed)
        trial.run(crash, *rng.sample(EVERY_POINT, 3))
    trial.run(None, None, None, None)
    trial.finish()
