"""From the queue into bronze over a real socket; faults are forced by standing between the drain and the real client."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mg_lakehouse.bronze.event_feed import DrainReport, drain
from mg_lakehouse.bronze.loaded_files import load_files
from mg_lakehouse.errors import PermanentError, TransientError
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_sources
from mg_lakehouse.sources import deletes as deleting
from mg_lakehouse.sources.heartbeat import Heartbeat
from mg_lakehouse.sources.sqs import Delivery, EventQueue, QueueDepth
from mg_lakehouse.testing.sqs import SqsEmulator, VirtualClock
from mg_lakehouse_tests.lake.feeds import bundles, rows_of

# One receiver, so that calls come in one order. Several receive in `faults/`.
SETTINGS = Settings(wait_seconds=0, batch_messages=10, receivers=1)


@pytest.fixture
def embedded() -> Iterator[SqsEmulator]:
    with SqsEmulator() as queue:
        yield queue


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


class Between(EventQueue):
    """The real queue, with a hook that sees each call before it is made and may raise."""

    def __init__(self, embedded: SqsEmulator, before: Callable[[str], None] | None = None) -> None:
        super().__init__(embedded.client(), embedded.queue_url)
        self._before = before or (lambda _: None)
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        self._before(name)

    def receive(self, **options: Any) -> Delivery:
        self._call("receive")
        return super().receive(**options)

    def delete(self, handles: Sequence[str]) -> list[str]:
        self._call("delete")
        return super().delete(handles)

    def hide(self, handles: Sequence[str], seconds: int) -> list[str]:
        self._call(f"hide {seconds}")
        return super().hide(handles, seconds)


def counts(embedded: SqsEmulator) -> tuple[int, int]:
    """Messages waiting, and messages in flight."""
    found = embedded.client().get_queue_attributes(QueueUrl=embedded.queue_url, AttributeNames=["All"])["Attributes"]
    return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])


def test_everything_that_waits_lands_in_bronze_and_leaves_the_queue(embedded: SqsEmulator, lake: Lake) -> None:
    embedded.publish(bundles(35))
    steps: list[DrainReport] = []
    report = drain(Between(embedded), lake, SETTINGS, progress=steps.append)
    assert (report.received, report.new, report.deleted, report.delete_failures) == (35, 35, 35, 0)
    assert report.commits == len(steps) >= 2
    assert report.least_margin_seconds is not None
    assert 200 < report.least_margin_seconds <= SETTINGS.visibility_seconds
    rows = rows_of(lake, "bronze", "event_feed")
    assert set(rows["body"]) == set(bundles(35))
    assert rows["queue"].unique().to_list() == [embedded.queue_url.rpartition("/")[2]]
    assert rows["receive_count"].unique().to_list() == [1]
    assert counts(embedded) == (0, 0)


def test_csv_on_the_queue_is_in_bronze_as_it_came_and_its_rows_are_those_of_the_same_file(
    embedded: SqsEmulator, lake: Lake, tmp_path: Path
) -> None:
    """MessageGears' other format: each body was one reject."""
    rows = "Open,o1,pat@example.com,2026-03-02T10:00:00Z,\nClick,c1,pat@example.com,2026-03-02 10:00:00+0000,job 1\n"
    body = f"activityType,activityId,emailAddress,timestamp,correlationId\r\n{rows}"
    embedded.publish([body, json.dumps({"Type": "Notification", "Message": body.replace("1,", "2,")}), rows])
    drain(EventQueue(embedded.client(), embedded.queue_url), lake, SETTINGS)
    flatten_sources(lake)
    received = dict(rows_of(lake, "bronze", "event_feed").select("body", "envelope").iter_rows())
    assert received[body] == "csv"
    assert set(received.values()) == {"csv", "sns+csv", None}
    (rejected,) = rows_of(lake, "silver", "rejected_items").to_dicts()
    assert (rejected["reason"], rejected["fragment"], rejected["item_index"]) == ("not_xml", rows, None)
    assert rejected["detail"].startswith("CSV without a header line")
    file = tmp_path / "feed.csv"
    file.write_text(body)
    loaded = Lake(str(tmp_path / "loaded"))
    list(load_files(loaded, SETTINGS, [file]))
    flatten_sources(loaded)
    lineage = ("message_id", "received_at", "received_date", "source")
    for table, ids in (("opens", ["o1", "o2"]), ("clicks", ["c1", "c2"])):
        found = rows_of(lake, "silver", table)
        assert sorted(found["activity_id"]) == ids
        assert_frame_equal(found.filter(pl.col("activity_id") == ids[0]).drop(lineage), rows_of(loaded, "silver", table).drop(lineage))


def test_an_empty_queue_makes_no_commit(embedded: SqsEmulator, lake: Lake) -> None:
    assert drain(Between(embedded), lake, SETTINGS) == DrainReport()
    assert lake.open("bronze", "event_feed") is None


def test_nothing_is_deleted_before_it_is_committed(embedded: SqsEmulator, lake: Lake) -> None:
    def look(call: str) -> None:
        if call == "delete":
            committed.append(rows_of(lake, "bronze", "event_feed").height)

    committed: list[int] = []
    embedded.publish(bundles(20))
    drain(Between(embedded, look), lake, SETTINGS)
    assert len(committed) == 2
    assert committed[0] >= 10
    assert committed[-1] == 20


def test_what_cannot_be_committed_goes_back_at_once(embedded: SqsEmulator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    embedded.publish(bundles(15))
    queue = Between(embedded)
    with pytest.raises(PermanentError, match="access was refused"):
        drain(queue, Lake(str(tmp_path / "file" / "lake")), SETTINGS)
    assert "delete" not in queue.calls
    assert counts(embedded) == (15, 0)


def test_a_stop_hands_back_what_is_not_committed(embedded: SqsEmulator, lake: Lake) -> None:
    embedded.publish(bundles(30))
    stop = threading.Event()
    report = drain(Between(embedded), lake, SETTINGS, stop=stop, progress=lambda _: stop.set())
    waiting, in_flight = counts(embedded)
    assert report.new >= 10
    assert (waiting + report.new, in_flight) == (30, 0)
    assert rows_of(lake, "bronze", "event_feed").height == report.new


def test_a_delete_that_fails_is_tried_again(embedded: SqsEmulator, lake: Lake) -> None:
    failures = iter([True, False])

    def fail_once(call: str) -> None:
        if call == "delete" and next(failures, False):
            raise TransientError("throttled")

    embedded.publish(bundles(5))
    queue = Between(embedded, fail_once)
    report = drain(queue, lake, SETTINGS)
    assert queue.calls.count("delete") == 2
    assert (report.deleted, report.delete_failures) == (5, 0)
    assert counts(embedded) == (0, 0)


def test_a_message_that_could_not_be_deleted_comes_again_and_is_absorbed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    with SqsEmulator(clock=clock) as sqs:
        monkeypatch.setattr(deleting, "_TRIES", 1)

        def always(call: str) -> None:
            if call == "delete":
                raise TransientError("throttled")

        sqs.publish(bundles(5))
        first = drain(Between(sqs, always), lake, SETTINGS)
        assert (first.new, first.deleted, first.delete_failures) == (5, 0, 5)
        assert counts(sqs) == (0, 5)
        clock.advance(SETTINGS.visibility_seconds + 1)
        second = drain(Between(sqs), lake, SETTINGS)
        assert (second.received, second.new, second.already, second.deleted) == (5, 0, 5, 5)
        assert rows_of(lake, "bronze", "event_feed").height == 5


def test_the_next_batch_is_received_while_the_last_is_deleted(embedded: SqsEmulator, lake: Lake) -> None:
    """The second receive fills the room beside the batch that is deleted, so a third begins only if nobody waits for the deletes."""
    receives = threading.Semaphore(0)
    began: list[bool] = []

    def watch(call: str) -> None:
        if call == "receive":
            receives.release()
        elif call == "delete" and not began:
            began.append(all(receives.acquire(timeout=30) for _ in range(3)))

    embedded.publish(bundles(60))
    settings = SETTINGS.model_copy(update={"receivers": 1, "batch_messages": 10})
    report = drain(Between(embedded, watch), lake, settings)
    assert began == [True]
    assert (report.new, report.deleted, report.delete_failures) == (60, 60, 0)
    assert counts(embedded) == (0, 0)


def test_receiving_survives_passing_faults(embedded: SqsEmulator, lake: Lake) -> None:
    seen: list[str] = []

    def flaky(call: str) -> None:
        seen.append(call)
        if call == "receive" and len(seen) in (1, 2, 4):
            raise TransientError("the connection was dropped")

    embedded.publish(bundles(12))
    report = drain(Between(embedded, flaky), lake, SETTINGS)
    assert report.new == 12


def test_a_queue_that_is_gone_ends_the_drain(embedded: SqsEmulator, lake: Lake) -> None:
    queue = EventQueue(embedded.client(), embedded.queue_url + "-gone")
    with pytest.raises(PermanentError, match="does not exist"):
        drain(queue, lake, SETTINGS)


def test_a_body_that_was_damaged_on_the_way_stays_in_the_queue(embedded: SqsEmulator, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator once wrote its request ids over our bundles; the checksum showed it."""
    embedded.publish([*bundles(3), "<ActivityItems>sent</ActivityItems>"])
    client = embedded.client()
    real = client.receive_message

    def damage(**options: Any) -> Any:
        answer = real(**options)
        for message in answer.get("Messages", []):
            message["Body"] = message["Body"].replace("sent", "received")
        return answer

    monkeypatch.setattr(client, "receive_message", damage)
    report = drain(EventQueue(client, embedded.queue_url), lake, SETTINGS)
    assert (report.new, report.corrupted) == (3, 1)
    assert counts(embedded) == (0, 1)


@pytest.mark.parametrize(("budget", "expected"), [(1, 1), (7, 7), (1_000, 25)])
def test_the_budget_of_messages_is_kept(embedded: SqsEmulator, lake: Lake, budget: int, expected: int) -> None:
    embedded.publish(bundles(25))
    assert drain(Between(embedded), lake, SETTINGS, max_messages=budget).received == expected
    assert counts(embedded) == (25 - expected, 0)


def test_a_feed_that_never_pauses_does_not_keep_a_drain_going(embedded: SqsEmulator, lake: Lake) -> None:
    def more(call: str) -> None:
        if call == "receive":
            embedded.publish(bundles(20))

    embedded.publish(bundles(25))
    report = drain(Between(embedded, more), lake, SETTINGS, max_seconds=120, until_empty=False)
    assert (report.received, report.deleted) == (25, 25)


def test_what_waits_and_is_not_counted_yet_is_received_all_the_same(embedded: SqsEmulator, lake: Lake) -> None:
    """SQS counts within a minute or so: a fresh message waits at a depth of 0."""
    embedded.publish(bundles(3))
    queue = Between(embedded)
    queue.depth = lambda: QueueDepth(visible=0, in_flight=0, delayed=0)  # type: ignore[method-assign]
    assert drain(queue, lake, SETTINGS, until_empty=False).received == 3


def test_a_budget_of_no_time_takes_nothing(embedded: SqsEmulator, lake: Lake) -> None:
    embedded.publish(bundles(5))
    assert drain(Between(embedded), lake, SETTINGS, max_seconds=0).received == 0
    assert counts(embedded) == (5, 0)


def test_the_heartbeat_extends_what_is_held_and_drops_what_fails_twice(embedded: SqsEmulator) -> None:
    embedded.publish(bundles(2))
    queue = Between(embedded)
    messages = queue.receive(at_most=10, wait_seconds=0, visibility_seconds=30).messages
    good, gone = (message.receipt_handle for message in messages)
    heartbeat = Heartbeat(queue, 30)
    heartbeat.hold(good)
    heartbeat.hold(gone)
    super(Between, queue).delete([gone])
    for _ in range(2):
        heartbeat._extend()
    assert heartbeat.held() == [good]
    assert "hide 30" in queue.calls
    heartbeat.release([good])
    assert heartbeat.held() == []
    assert heartbeat.least_margin_seconds is not None


def test_attributes_of_a_message_are_kept(embedded: SqsEmulator, lake: Lake) -> None:
    embedded.client().send_message(
        QueueUrl=embedded.queue_url,
        MessageBody="<ActivityItems/>",
        MessageAttributes={"origin": {"DataType": "String", "StringValue": "test"}},
    )
    drain(Between(embedded), lake, SETTINGS)
    (text,) = rows_of(lake, "bronze", "event_feed")["attributes"]
    assert '"origin": "test"' in text
    assert '"SentTimestamp"' in text


@pytest.mark.parametrize("order", [1, -1], ids=["older_first", "newer_first"])
def test_a_message_received_twice_is_deleted_by_its_newest_handle(lake: Lake, order: int) -> None:
    """SQS answers a delete by an older handle with success and does nothing (`DeleteMessage` in its reference). Two receivers may bring either first."""

    class Twice(EventQueue):
        deleted: list[str]

        def receive(self, **options: Any) -> Delivery:
            first = super().receive(**options)
            self.hide([message.receipt_handle for message in first.messages], 0)
            again = super().receive(**options)
            both = [*first.messages, *again.messages]
            self.newest = {message.receipt_handle for message in again.messages} | getattr(self, "newest", set())
            return Delivery(both[::order], 0)

        def delete(self, handles: Sequence[str]) -> list[str]:
            self.deleted = [*getattr(self, "deleted", []), *handles]
            return super().delete(handles)

    with SqsEmulator(clock=VirtualClock()) as sqs:
        sqs.publish(bundles(3))
        queue = Twice(sqs.client(), sqs.queue_url)
        report = drain(queue, lake, SETTINGS)
        assert sqs.queue.message_ids() == []
    assert set(queue.deleted) == queue.newest
    assert (report.new, report.deleted) == (3, 3)
