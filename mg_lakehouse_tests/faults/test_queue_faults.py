"""The real drain on a queue that fails in every way that SQS can: nothing is lost, and nothing is doubled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from mg_lakehouse._util.backoff import backoff_seconds
from mg_lakehouse.bronze.append import BatchReceipt, Uncommitted, append_batch
from mg_lakehouse.bronze.event_feed import drain
from mg_lakehouse.errors import PermanentError, TransientError
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.sources import deletes, receivers
from mg_lakehouse.sources.sqs import Delivery, EventQueue
from mg_lakehouse.testing.sqs import Fault, Rule, SqsEmulator, VirtualClock
from mg_lakehouse_tests.faults.invariants import Guard, drain_until_nothing_is_left, in_bronze_once
from mg_lakehouse_tests.lake.feeds import bundles, rows_of

SETTINGS: Final = Settings(wait_seconds=1, batch_messages=50, receivers=3, visibility_seconds=30)
MESSAGES: Final = 200
# Each is another schedule of the same faults.
SEEDS: Final = [*range(2), *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(2, 24))]

# Calls that a fault can be seen in, and how often it strikes there; of entries less, for each message is an occasion.
SINGLE: Final[dict[str, list[tuple[Fault, str, float]]]] = {
    "answer of a receive lost": [(Fault.ANSWER_LOST, "ReceiveMessage", 0.2)],
    "answer of a delete lost": [(Fault.ANSWER_LOST, "DeleteMessageBatch", 0.5)],
    "receive dropped": [(Fault.DROPPED, "ReceiveMessage", 0.2)],
    "delete dropped": [(Fault.DROPPED, "DeleteMessageBatch", 0.5)],
    "receive throttled": [(Fault.THROTTLED, "ReceiveMessage", 0.1), (Fault.REQUEST_THROTTLED, "ReceiveMessage", 0.1)],
    "delete throttled": [(Fault.THROTTLED, "DeleteMessageBatch", 0.3), (Fault.REQUEST_THROTTLED, "DeleteMessageBatch", 0.3)],
    "internal error": [(Fault.INTERNAL_ERROR, "ReceiveMessage", 0.2), (Fault.INTERNAL_ERROR, "DeleteMessageBatch", 0.3)],
    "entries of deletes fail": [(Fault.ENTRY_FAILED, "DeleteMessageBatch", 0.5)],
    "deleted messages return": [(Fault.DELETED_RETURNS, "DeleteMessageBatch", 0.3)],
    "two hold a message": [(Fault.DELIVERED_TWICE, "ReceiveMessage", 0.3)],
    "a message twice in a receive": [(Fault.REPEATED, "ReceiveMessage", 0.5)],
    "wrong checksum": [(Fault.WRONG_MD5, "ReceiveMessage", 0.1)],
    "nothing found": [(Fault.EMPTY, "ReceiveMessage", 0.3)],
    "slow": [(Fault.SLOW, "ReceiveMessage", 0.2), (Fault.SLOW, "DeleteMessageBatch", 0.2)],
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry waits a twentieth of its seconds, which on this queue nobody needs to recover in."""
    for module in (receivers, deletes):
        monkeypatch.setattr(module, "backoff_seconds", lambda attempt, **limits: backoff_seconds(attempt, **limits) / 20)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def sqs(clock: VirtualClock) -> Iterator[SqsEmulator]:
    with SqsEmulator(clock=clock, seed=1) as emulator:
        yield emulator


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def queue_of(sqs: SqsEmulator, *, attempts: int = 1) -> EventQueue:
    return EventQueue(sqs.client(attempts=attempts), sqs.queue_url)


def switch_on(sqs: SqsEmulator, faults: list[tuple[Fault, str, float]], seed: int) -> list[Rule]:
    return [sqs.faults.add(fault, call, probability=probability, seed=seed, seconds=0.05) for fault, call, probability in faults]


@pytest.mark.parametrize("name", SINGLE)
def test_each_fault_loses_nothing_and_doubles_nothing(sqs: SqsEmulator, clock: VirtualClock, lake: Lake, name: str) -> None:
    published = sqs.publish(bundles(MESSAGES))
    guard = Guard(sqs.queue, lake)
    rules = switch_on(sqs, SINGLE[name], seed=7)
    drain_until_nothing_is_left(sqs, clock, queue_of(sqs), lake, SETTINGS)
    assert any(rule.fired for rule in rules)
    in_bronze_once(lake, published)
    assert guard.lost == []


@pytest.mark.parametrize("seed", SEEDS)
def test_all_faults_together_lose_nothing_and_double_nothing(sqs: SqsEmulator, clock: VirtualClock, lake: Lake, seed: int) -> None:
    """Half of the seeds with boto3's own repetitions, as in production, half without."""
    published = sqs.publish(bundles(MESSAGES))
    guard = Guard(sqs.queue, lake)
    every = [(fault, call, probability / 4) for faults in SINGLE.values() for fault, call, probability in faults]
    rules = switch_on(sqs, every, seed)
    drain_until_nothing_is_left(sqs, clock, queue_of(sqs, attempts=1 + seed % 2), lake, SETTINGS)
    assert sum(rule.fired for rule in rules) > 20
    in_bronze_once(lake, published)
    assert guard.lost == []


def test_a_slow_commit_does_not_let_its_messages_go(
    sqs: SqsEmulator, clock: VirtualClock, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first commit takes several visibility timeouts: the clock moves on by a fifth of one with each ten that the heartbeat extends, of which three are held."""
    settings = SETTINGS.model_copy(update={"visibility_seconds": 1, "batch_messages": 10})
    seen_by_another: list[Any] = []
    batches: list[str] = []

    def slow(lake: Lake, batch: pl.DataFrame, batch_id: str, uncommitted: Uncommitted) -> BatchReceipt:
        batches.append(batch_id)
        for _ in range(16 if len(batches) == 1 else 0):
            sqs.wait_for("ChangeMessageVisibilityBatch", sqs.calls.get("ChangeMessageVisibilityBatch", 0) + 1)
            clock.advance(0.2)
            seen_by_another.extend(sqs.queue.receive())
        return append_batch(lake, batch, batch_id, uncommitted)

    monkeypatch.setattr("mg_lakehouse.bronze.event_feed.append_batch", slow)
    published = sqs.publish(bundles(25))
    started = clock.now()
    report = drain(queue_of(sqs), lake, settings)
    assert clock.now() > started + 3
    assert seen_by_another == []
    assert (report.received, report.new, report.deleted) == (25, 25, 25)
    assert sqs.queue.message_ids() == []
    in_bronze_once(lake, published)


def test_receiving_pauses_where_the_committer_falls_behind(sqs: SqsEmulator, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four bodies fill a batch, and four more may wait; what four receivers are about then comes on top, and no more of the 300."""
    settings = SETTINGS.model_copy(update={"batch_bytes": 4 * 65_536, "receivers": 4})
    most = (4 + 9) + (4 + 9) + 4 * 10
    held: list[int] = []

    def slow(lake: Lake, batch: pl.DataFrame, batch_id: str, uncommitted: Uncommitted) -> BatchReceipt:
        deadline = time.monotonic() + (1 if not held else 0)
        while sqs.queue.counts().in_flight <= most and time.monotonic() < deadline:
            pass
        held.append(sqs.queue.counts().in_flight)
        return append_batch(lake, batch, batch_id, uncommitted)

    monkeypatch.setattr("mg_lakehouse.bronze.event_feed.append_batch", slow)
    body = f"<ActivityItems><!-- {'x' * 65_536} --></ActivityItems>"
    published = sqs.publish([body] * 300)
    assert drain(queue_of(sqs), lake, settings).deleted == 300
    assert 8 <= held[0] <= max(held) <= most
    in_bronze_once(lake, published)


@pytest.mark.parametrize("wait_seconds", [0, 1], ids=["short polling", "long polling"])
def test_at_the_in_flight_quota_a_drain_commits_what_it_has_and_goes_on(sqs: SqsEmulator, lake: Lake, wait_seconds: int) -> None:
    """Short polling is answered with an error there and long polling with nothing, which is not an empty queue."""
    sqs.queue.in_flight_limit = 50
    published = sqs.publish(bundles(500))
    report = drain(queue_of(sqs), lake, SETTINGS.model_copy(update={"wait_seconds": wait_seconds, "batch_messages": 2_000}))
    assert (report.received, report.new, report.deleted) == (500, 500, 500)
    assert sqs.queue.message_ids() == []
    in_bronze_once(lake, published)


def test_where_others_hold_all_that_may_be_in_flight_a_drain_says_so(sqs: SqsEmulator, lake: Lake) -> None:
    sqs.queue.in_flight_limit = 10
    sqs.publish(bundles(20))
    assert len(sqs.queue.receive()) == 10
    with pytest.raises(TransientError, match="in flight as SQS allows"):
        drain(queue_of(sqs), lake, SETTINGS.model_copy(update={"wait_seconds": 0}))


def test_the_newest_handle_deletes_whatever_order_deliveries_arrive_in(sqs: SqsEmulator, lake: Lake) -> None:
    """Two receivers race: what the second got may reach the committer first, and the older handle deletes nothing."""

    class Reversed(EventQueue):
        def receive(self, **options: Any) -> Delivery:
            messages, corrupted = super().receive(**options)
            return Delivery(messages[::-1], corrupted)

    published = sqs.publish(bundles(20))
    rule = sqs.faults.add(Fault.REPEATED, "ReceiveMessage")
    drain(Reversed(sqs.client(), sqs.queue_url), lake, SETTINGS)
    assert rule.fired >= 2
    assert sqs.queue.message_ids() == []
    in_bronze_once(lake, published)


def test_a_delete_that_fails_costs_its_own_ten(sqs: SqsEmulator, lake: Lake) -> None:
    """Fifty messages are five calls; the one that was dropped is made again, and no other."""
    sqs.publish(bundles(50))
    sqs.faults.add(Fault.DROPPED, "DeleteMessageBatch", count=1, skip=1)
    report = drain(queue_of(sqs), lake, SETTINGS)
    assert (report.deleted, report.delete_failures) == (50, 0)
    assert sqs.calls["DeleteMessageBatch"] == 6
    assert sqs.queue.message_ids() == []


def test_entries_that_sqs_failed_to_delete_are_deleted_by_the_same_drain(sqs: SqsEmulator, lake: Lake) -> None:
    """Otherwise each would stay hidden for its whole timeout and come again."""
    published = sqs.publish(bundles(50))
    rule = sqs.faults.add(Fault.ENTRY_FAILED, "DeleteMessageBatch", count=7, skip=5)
    report = drain(queue_of(sqs), lake, SETTINGS)
    assert rule.fired == 7
    assert (report.deleted, report.delete_failures) == (50, 0)
    assert sorted(sqs.queue.deleted) == sorted(published)


def test_entries_that_cannot_be_deleted_are_counted(sqs: SqsEmulator, clock: VirtualClock, lake: Lake) -> None:
    sqs.publish(bundles(50))
    failing = sqs.faults.add(Fault.ENTRY_FAILED, "DeleteMessageBatch")
    report = drain(queue_of(sqs), lake, SETTINGS)
    assert (report.new, report.deleted, report.delete_failures) == (50, 0, 50)
    assert failing.fired == 150
    sqs.faults.clear()
    clock.advance(SETTINGS.visibility_seconds + 1)
    again = drain(queue_of(sqs), lake, SETTINGS)
    assert (again.new, again.already, again.deleted) == (0, 50, 50)


def test_a_body_that_does_not_match_its_checksum_is_neither_kept_nor_deleted(sqs: SqsEmulator, clock: VirtualClock, lake: Lake) -> None:
    published = sqs.publish(bundles(20))
    sqs.faults.add(Fault.WRONG_MD5, "ReceiveMessage", count=3)
    report = drain(queue_of(sqs), lake, SETTINGS)
    assert (report.new, report.corrupted, report.deleted) == (17, 3, 17)
    assert len(sqs.queue.message_ids()) == 3
    clock.advance(SETTINGS.visibility_seconds + 1)
    assert drain(queue_of(sqs), lake, SETTINGS).new == 3
    in_bronze_once(lake, published)


def test_a_hand_back_that_fails_costs_its_own_ten(sqs: SqsEmulator, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermanentError("the lake is closed")

    monkeypatch.setattr("mg_lakehouse.bronze.event_feed.append_batch", refuse)
    sqs.publish(bundles(50))
    sqs.faults.add(Fault.DROPPED, "ChangeMessageVisibilityBatch", count=1, skip=1)
    with pytest.raises(PermanentError, match="closed"):
        drain(queue_of(sqs), lake, SETTINGS)
    assert sqs.queue.counts() == (40, 10, 0)


def test_bodies_at_the_limit_come_through_to_the_byte(sqs: SqsEmulator, clock: VirtualClock, lake: Lake) -> None:
    """A mebibyte of text with characters of four bytes, and one of each below it."""
    open_tag, close = "<ActivityItems>", "</ActivityItems>"
    room = 1_048_576 - len(open_tag) - len(close)
    bodies = [open_tag + letter * (room // len(letter.encode())) + close for letter in ("x", "ä", "€", "𝄞")]
    for body in bodies:
        sqs.client().send_message(QueueUrl=sqs.queue_url, MessageBody=body)
    drain_until_nothing_is_left(sqs, clock, queue_of(sqs), lake, SETTINGS)
    rows = pl.read_delta(lake.uri_of("bronze", "event_feed"))
    assert sorted(rows["body"]) == sorted(bodies)


def test_a_message_from_the_future_is_kept_as_any_other(sqs: SqsEmulator, clock: VirtualClock, lake: Lake) -> None:
    """The queue's clock is an hour ahead of ours: received before it was sent, delivered again, and still one row."""
    clock.advance(3600)
    published = sqs.publish(bundles(20))
    sqs.faults.add(Fault.DELETED_RETURNS, count=5)
    reports = drain_until_nothing_is_left(sqs, clock, queue_of(sqs), lake, SETTINGS)
    rows = pl.read_delta(lake.uri_of("bronze", "event_feed"))
    assert rows.filter(pl.col("received_at") < pl.col("sent_at")).height == 20
    assert sum(report.already for report in reports) == 5
    in_bronze_once(lake, published)


def clicks(first: int, count: int) -> str:
    """A bundle of clicks with the activity ids ``a-<first>``, …"""
    items = "".join(
        f"<ClickActivity><RequestId>r-{number}</RequestId><CorrelationId>7</CorrelationId><ActivityId>a-{number}</ActivityId>"
        f"<EmailAddress>{number}@example.com</EmailAddress><Timestamp>2026-03-01T12:00:00Z</Timestamp></ClickActivity>"
        for number in range(first, first + count)
    )
    return f"<ActivityItems>{items}</ActivityItems>"


def test_bundles_of_thousands_of_items_come_through(sqs: SqsEmulator, clock: VirtualClock, lake: Lake) -> None:
    """Three bundles near the mebibyte that SQS takes, each delivered twice: every item is one row."""
    bodies = [clicks(number * 4_800, 4_800) for number in range(3)]
    assert all(1_000_000 < len(body.encode()) <= 1_048_576 for body in bodies)
    for body in bodies:
        sqs.client().send_message(QueueUrl=sqs.queue_url, MessageBody=body)
    sqs.faults.add(Fault.DELETED_RETURNS, count=3)
    drain_until_nothing_is_left(sqs, clock, queue_of(sqs), lake, SETTINGS)
    report = flatten_new(lake)
    assert (report.messages, report.items, report.rows) == (3, 14_400, 14_400)
    assert set(rows_of(lake, "silver", "clicks")["activity_id"]) == {f"a-{number}" for number in range(14_400)}


def test_a_message_that_went_to_the_dead_letters_and_back_is_two_in_bronze_and_one_in_silver(
    sqs: SqsEmulator, clock: VirtualClock, lake: Lake
) -> None:
    """It was committed and could not be deleted; its redrive is a new message to SQS, with the same body."""
    dead = sqs.account.create("dead-letters")
    sqs.queue.dead_letters, sqs.queue.max_receive_count = dead, 1
    (first,) = sqs.publish([clicks(0, 3)])
    sqs.faults.add(Fault.DROPPED, "DeleteMessageBatch")
    assert drain(queue_of(sqs), lake, SETTINGS).delete_failures == 1
    flatten_new(lake)
    sqs.faults.clear()
    clock.advance(SETTINGS.visibility_seconds + 1)
    assert drain(queue_of(sqs), lake, SETTINGS).received == 0
    assert dead.message_ids() == [first]
    sqs.client().start_message_move_task(SourceArn=dead.arn)
    (second,) = sqs.queue.message_ids()
    assert drain(queue_of(sqs), lake, SETTINGS).new == 1
    assert flatten_new(lake).rows == 0
    in_bronze_once(lake, [first, second])
    assert sorted(rows_of(lake, "silver", "clicks")["activity_id"]) == ["a-0", "a-1", "a-2"]
