"""Hypothesis plays the queue, the consumers, the store and the machine against each other, step by step, in one process.

The queue is the emulator's model on a clock of its own, the tables are real, and the steps are the protocol's: receive, commit, delete, flatten.
Between any two of them a consumer may die, an answer may be lost, another consumer may be faster, or time may pass.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule, run_state_machine_as_test

from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.bronze.append import append_batch
from mg_lakehouse.bronze.tables import BRONZE_SCHEMA
from mg_lakehouse.lake import failpoints
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs.clock import VirtualClock
from mg_lakehouse.testing.sqs.model import Delivered, Queue
from mg_lakehouse_tests.faults.invariants import column, nothing_is_lost, nothing_is_twice
from mg_lakehouse_tests.faults.scenarios import Died, die, fail

BODIES = list(samples().values())
FAULTS = st.sampled_from([None, None, "answer lost", "failed", "dies before", "dies after"])
WHERE = {
    "answer lost": (Failpoint.COMMIT_DONE, fail),
    "failed": (Failpoint.COMMIT_DECIDED, fail),
    "dies before": (Failpoint.COMMIT_DECIDED, die),
    "dies after": (Failpoint.COMMIT_DONE, die),
}


class Ingestion(RuleBasedStateMachine):
    held = Bundle("held")
    committed = Bundle("committed")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="ingestion-")
        self.lake = Lake(f"{self.folder}/lake")
        self.clock = VirtualClock(1_772_366_400.0)
        self.queue = Queue("feed", self.clock, visibility_seconds=30, seed=1)

    def teardown(self) -> None:
        failpoints.on_reached(None)
        try:
            self._finish()
        finally:
            shutil.rmtree(self.folder)

    @rule(bodies=st.lists(st.integers(0, len(BODIES) - 1), min_size=1, max_size=5))
    def publish(self, bodies: list[int]) -> None:
        for number in bodies:
            self.queue.send(BODIES[number])

    @rule(target=held, at_most=st.integers(1, 10))
    def receive(self, at_most: int) -> Any:
        delivered = self.queue.receive(at_most=at_most)
        return delivered or multiple()

    @rule(seconds=st.sampled_from([1, 20, 40]))
    def time_passes(self, seconds: int) -> None:
        """After 30 s what is held comes again, to whoever asks."""
        self.clock.advance(seconds)

    @rule(message=consumes(held))
    def a_consumer_dies_holding_messages(self, message: list[Delivered]) -> None:
        pass

    @rule(target=committed, first=consumes(held), second=st.none() | consumes(held), fault=FAULTS, faster=st.none() | held)
    def commit(self, first: list[Delivered], second: list[Delivered] | None, fault: str | None, faster: list[Delivered] | None) -> Any:
        """Commit one or two receives as a batch; another consumer may commit in between."""
        deliveries = [*first, *(second or [])]
        point, act = WHERE[fault] if fault else (None, None)
        acts: list[Any] = []

        def handler(which: Failpoint, _: str) -> None:
            if faster is not None and which == Failpoint.COMMIT_DECIDED and "raced" not in acts:
                acts.append("raced")
                failpoints.on_reached(None)
                self._append(faster)
                failpoints.on_reached(handler)
            if which == point and "struck" not in acts and act is not None:
                acts.append("struck")
                act()

        failpoints.on_reached(handler)
        try:
            self._append(deliveries)
        except Died:
            return multiple()
        finally:
            failpoints.on_reached(None)
        return deliveries

    @rule(deliveries=consumes(committed), share=st.floats(0, 1), returns=st.booleans())
    def delete(self, deliveries: list[Delivered], share: float, returns: bool) -> None:
        """Some of the deletes are made; the consumer dies before the others. A deleted message may come back."""
        handles = [each.handle for each in deliveries][: round(share * len(deliveries))]
        self.queue.delete_all(handles, returns=[returns] * len(handles))

    @rule(fault=FAULTS, nth=st.integers(1, 6))
    def flatten(self, fault: str | None, nth: int) -> None:
        point, act = WHERE[fault] if fault else (None, None)
        seen: list[Failpoint] = []

        def handler(which: Failpoint, _: str) -> None:
            if which == point and act is not None:
                seen.append(which)
                if len(seen) == nth:
                    act()

        failpoints.on_reached(handler)
        try:
            flatten_new(self.lake)
        except Died:
            pass
        finally:
            failpoints.on_reached(None)

    @invariant()
    def nothing_is_lost_and_nothing_is_twice(self) -> None:
        nothing_is_lost(self.lake, self.queue.sent, self.queue.message_ids())
        nothing_is_twice(self.lake)

    def _append(self, deliveries: list[Delivered]) -> None:
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        rows = {
            each.message.message_id: (
                each.message.message_id,
                each.message.body,
                "0" * 64,
                datetime.fromtimestamp(each.message.sent_at, UTC),
                now,
                each.receive_count,
                "{}",
                "feed",
                "",
                now.date(),
                None,
            )
            for each in deliveries
        }
        batch_id = uuid.uuid4().hex
        frame = pl.DataFrame(list(rows.values()), BRONZE_SCHEMA, orient="row").with_columns(batch_id=pl.lit(batch_id))
        append_batch(self.lake, frame, batch_id)

    def _finish(self) -> None:
        """Whatever happened before: an ordinary consumer brings everything home."""
        self.clock.advance(60)
        while deliveries := self.queue.receive():
            self._append(deliveries)
            self.queue.delete_all([each.handle for each in deliveries], returns=[False] * len(deliveries))
        flatten_new(self.lake)
        self.nothing_is_lost_and_nothing_is_twice()
        assert self.queue.message_ids() == []
        assert sorted(column(self.lake, "bronze", "event_feed", "message_id")) == sorted(self.queue.sent)
        summed = conservation(self.lake, above=0)
        assert summed.holds, summed
        # Each sample is one item; each distinct good one is one row, however often it was sent.
        assert summed.items == summed.messages == len(self.queue.sent)


TestIngestion = Ingestion.TestCase
TestIngestion.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.faults
@pytest.mark.timeout(1_800)
def test_long_plays() -> None:
    run_state_machine_as_test(Ingestion, settings=settings(TestIngestion.settings, max_examples=150, stateful_step_count=40))
