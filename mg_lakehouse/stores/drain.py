"""From the queue into bronze: many receivers, one committer, and a delete only after the commit.

The receivers fill a buffer that is bounded by count, bytes and age; each full buffer becomes one Delta commit, and
only then are its messages deleted. A crash at any point leaves messages in the queue or in bronze, or in
both, which the commit absorbs. Bodies are not parsed here, so that nothing is poison.
"""

from __future__ import annotations

import hashlib
import queue as stdlib_queue
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import polars as pl

from mg_lakehouse.errors import LakehouseError, TransientError
from mg_lakehouse.events.schemas import BRONZE_SCHEMA
from mg_lakehouse.settings import Settings
from mg_lakehouse.stores.bronze import Uncommitted, append_batch
from mg_lakehouse.stores.failpoints import Failpoint, reached
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse.stores.queue import EventQueue, InFlightLimitError, Received
from mg_lakehouse.stores.tables import EVENT_FEED
from mg_lakehouse.stores.visibility import Heartbeat

__all__ = ["DrainReport", "drain"]

_DELETE_TRIES: Final = 3
_FAILED_RECEIVES_ALLOWED: Final = 5
_TICK_SECONDS: Final = 0.2
_ONE_RECEIVE: Final = 10


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a drain did.

    ``already`` counts deliveries of messages that bronze held; ``corrupted`` those whose body did not match SQS's checksum, which
    come again. Times are UTC; ``least_margin_seconds`` is the visibility left at the tightest delete.
    """

    received: int = 0
    new: int = 0
    already: int = 0
    deleted: int = 0
    delete_failures: int = 0
    corrupted: int = 0
    commits: int = 0
    bytes: int = 0
    first_sent_at: datetime | None = None
    last_sent_at: datetime | None = None
    least_margin_seconds: float | None = None


Progress = Callable[[DrainReport], None]


def drain(
    queue: EventQueue,
    lake: Lake,
    settings: Settings,
    *,
    max_messages: int | None = None,
    max_seconds: float | None = None,
    until_empty: bool = True,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> DrainReport:
    """Receive, commit and delete until the queue is empty or the budget is spent.

    Args:
        queue: where the messages are.
        lake: where they go.
        settings: batch sizes, threads and timeouts.
        max_messages: receive no more than this many messages.
        max_seconds: receive no longer than this; what is held by then is still committed and deleted.
        until_empty: otherwise receive no more messages than wait now. A feed that never pauses never leaves its queue empty:
            two messages a second kept a drain going for its whole ten minutes, and everything behind it waiting.
        stop: set it to stop receiving at once; what is not committed goes back to the queue.
        progress: called after each commit.

    Raises:
        PermanentError, TransientError: everything uncommitted was handed back to the queue, or will return by itself.
    """
    # Before anything is received: each receive counts towards the dead-letter queue, and a lake that is not there takes nothing.
    lake.open(EVENT_FEED.layer, EVENT_FEED.name)
    deadline = time.monotonic() + (settings.max_seconds if max_seconds is None else max_seconds)
    stop = stop or threading.Event()
    if not until_empty:
        # The depth is approximate, and may well be 0 where a message waits.
        waiting = max(queue.depth().visible, _ONE_RECEIVE)
        max_messages = waiting if max_messages is None else min(max_messages, waiting)
    with Heartbeat(queue, settings.visibility_seconds) as heartbeat:
        receivers = _Receivers(queue, settings, heartbeat, stop=stop, deadline=deadline, max_messages=max_messages)
        committer = _Committer(queue, lake, settings, heartbeat, progress)
        try:
            while receivers.start():
                while not receivers.finished():
                    committer.take(receivers.next())
                if stop.is_set():
                    break
                committer.flush()
        finally:
            stop.set()
            receivers.join()
            _hand_back(queue, heartbeat)
    if receivers.failure is not None:
        raise receivers.failure
    return replace(committer.report, corrupted=receivers.corrupted, least_margin_seconds=heartbeat.least_margin_seconds)


class _Receivers:
    """Threads that receive until each finds nothing.

    Nothing found is not yet an empty queue: at the in-flight limit long polling finds nothing as well, and short polling may
    anywhere. So when they are done, and what they brought is deleted, they start again as long as messages wait.
    """

    def __init__(
        self,
        queue: EventQueue,
        settings: Settings,
        heartbeat: Heartbeat,
        *,
        stop: threading.Event,
        deadline: float,
        max_messages: int | None,
    ) -> None:
        self._queue = queue
        self._settings = settings
        self._heartbeat = heartbeat
        self._stop = stop
        self._deadline = deadline
        self._left = max_messages
        self._lock = threading.Lock()
        self._arrived: stdlib_queue.SimpleQueue[list[Received]] = stdlib_queue.SimpleQueue()
        # About another commit's worth may wait for the committer, in messages and in bytes; then receiving pauses. Counted in
        # messages alone, bodies of 1 MiB would have filled 4 GiB.
        self._room = threading.Condition()
        self._waiting_messages = 0
        self._waiting_bytes = 0
        self._threads: list[threading.Thread] = []
        self._brought = 0
        self._brought_before = 0
        self._at_limit: InFlightLimitError | None = None
        self.failure: LakehouseError | None = None
        self.corrupted = 0

    def start(self) -> bool:
        """Start the threads, for the first time or, if there is reason to, again; whether they were."""
        if self._threads and not self._more_waits():
            return False
        self._brought_before = self._brought
        self._threads = [
            threading.Thread(target=self._run, name=f"receiver-{number}", daemon=True) for number in range(self._settings.receivers)
        ]
        for thread in self._threads:
            thread.start()
        return True

    def _more_waits(self) -> bool:
        """Whether to go on. Not after a round that brought nothing: the number is approximate, or others hold all that may be in flight."""
        if not self._brought:
            self.failure = self.failure or self._at_limit
        if self._brought == self._brought_before or self.failure is not None or self._left == 0 or time.monotonic() >= self._deadline:
            return False
        try:
            return self._queue.depth().visible > 0
        except LakehouseError:
            return False  # everything received is in bronze: the next drain takes the rest

    def join(self) -> None:
        """Wait for the threads, emptying their way: one may be waiting for a place. Safe where none was started."""
        while any(thread.is_alive() for thread in self._threads):
            self.next()

    def finished(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads) and self._arrived.empty()

    def next(self) -> list[Received]:
        try:
            messages = self._arrived.get(timeout=_TICK_SECONDS)
        except stdlib_queue.Empty:
            return []
        with self._room:
            self._waiting_messages -= len(messages)
            self._waiting_bytes -= _size(messages)
            self._room.notify_all()
        return messages

    def _put(self, messages: list[Received]) -> None:
        with self._room:
            self._waiting_messages += len(messages)
            self._waiting_bytes += _size(messages)
        self._arrived.put(messages)

    def _await_room(self) -> None:
        """Wait until the committer has caught up, or there is no more to do."""
        with self._room:
            while not self._stop.is_set() and time.monotonic() < self._deadline and self._is_full():
                self._room.wait(_TICK_SECONDS)

    def _is_full(self) -> bool:
        return self._waiting_messages >= self._settings.batch_messages or self._waiting_bytes >= self._settings.batch_bytes

    def _run(self) -> None:
        failures = 0
        while True:
            self._await_room()
            if self._stop.is_set() or time.monotonic() >= self._deadline or not (wanted := self._reserve()):
                return
            try:
                messages, corrupted = self._queue.receive(
                    at_most=wanted, wait_seconds=self._settings.wait_seconds, visibility_seconds=self._settings.visibility_seconds
                )
            except InFlightLimitError as error:
                self._give_back(wanted)
                self._at_limit = error
                return
            except TransientError as error:
                self._give_back(wanted)
                failures += 1
                if failures > _FAILED_RECEIVES_ALLOWED:
                    self.failure = error
                    return
                self._stop.wait(min(5.0, 0.1 * 2**failures))
                continue
            except LakehouseError as error:
                self.failure = error
                self._stop.set()
                return
            failures = 0
            self._give_back(wanted - len(messages))
            for message in messages:
                self._heartbeat.hold(message.receipt_handle)
            with self._lock:
                self.corrupted += corrupted
                self._brought += len(messages)
            if messages:
                self._put(messages)
            elif not corrupted:
                return

    def _reserve(self) -> int:
        """How many messages may be asked for now, set aside until they came; 0 when the budget is spent."""
        with self._lock:
            if self._left is None:
                return _ONE_RECEIVE
            wanted = min(_ONE_RECEIVE, self._left)
            self._left -= wanted
            return wanted

    def _give_back(self, count: int) -> None:
        with self._lock:
            if self._left is not None:
                self._left += count


class _Committer:
    """Collects messages into batches; commits each, then deletes its messages."""

    def __init__(self, queue: EventQueue, lake: Lake, settings: Settings, heartbeat: Heartbeat, progress: Progress | None) -> None:
        self._queue = queue
        self._lake = lake
        self._settings = settings
        self._heartbeat = heartbeat
        self._progress = progress
        self._messages: dict[str, Received] = {}
        self._handles: dict[str, list[str]] = {}
        # The latest handle of each message is the one that deletes it; older ones are answered with success and do nothing.
        self._latest: dict[str, tuple[int, str]] = {}
        self._bytes = 0
        self._uncommitted = Uncommitted()
        self._since = time.monotonic()
        self.report = DrainReport()

    def take(self, messages: list[Received]) -> None:
        """Add messages, and commit when the batch is full or old enough."""
        for message in messages:
            self._add(message)
        full = len(self._messages) >= self._settings.batch_messages or self._bytes >= self._settings.batch_bytes
        old = bool(self._messages) and time.monotonic() - self._since >= self._settings.batch_seconds
        if full or old:
            self.flush()

    def flush(self) -> None:
        """Commit and delete what was collected."""
        if not self._messages:
            return
        batch_id = uuid.uuid4().hex
        received = sum(map(len, self._handles.values()))
        waiting = self._uncommitted
        margin = self._heartbeat.least_margin_seconds
        waiting = waiting._replace(
            repeated=waiting.repeated + received - len(self._messages), least_margin_seconds=None if margin is None else round(margin, 1)
        )
        receipt = append_batch(self._lake, _frame(list(self._messages.values()), self._queue.name, batch_id), batch_id, waiting)
        reached(Failpoint.BATCH_COMMITTED)
        failures = self._delete([handle for _, handle in self._latest.values()])
        waiting = Uncommitted() if receipt.new else waiting._replace(already=waiting.already + receipt.already)
        self._uncommitted = waiting._replace(delete_failures=waiting.delete_failures + failures)
        reached(Failpoint.BATCH_DELETED)
        sent = [message.sent_at for message in self._messages.values()]
        before = self.report
        self.report = replace(
            before,
            received=before.received + received,
            new=before.new + receipt.new,
            already=before.already + received - receipt.new,
            deleted=before.deleted + len(self._messages) - failures,
            delete_failures=before.delete_failures + failures,
            commits=before.commits + (1 if receipt.new else 0),
            bytes=before.bytes + self._bytes,
            first_sent_at=min(sent if before.first_sent_at is None else [before.first_sent_at, *sent]),
            last_sent_at=max(sent if before.last_sent_at is None else [before.last_sent_at, *sent]),
        )
        self._messages, self._handles, self._latest, self._bytes = {}, {}, {}, 0
        if self._progress is not None:
            self._progress(self.report)

    def _add(self, message: Received) -> None:
        if not self._messages:
            self._since = time.monotonic()
        self._handles.setdefault(message.message_id, []).append(message.receipt_handle)
        # By SQS's count, for what two receivers got may arrive here in the other order.
        if message.receive_count >= self._latest.get(message.message_id, (0, ""))[0]:
            self._latest[message.message_id] = message.receive_count, message.receipt_handle
        if message.message_id not in self._messages:
            self._messages[message.message_id] = message
            self._bytes += len(message.body.encode("utf-8", "replace"))

    def _delete(self, handles: list[str]) -> int:
        """Delete, and try again what failed. What still fails comes again and is absorbed. Returns how many did."""
        remaining = handles
        for attempt in range(_DELETE_TRIES):
            if attempt:
                time.sleep(0.1 * 2**attempt)
            try:
                remaining = self._queue.delete(remaining)
            except TransientError:
                continue
            if not remaining:
                break
        self._heartbeat.let_go([handle for held in self._handles.values() for handle in held])
        return len(remaining)


def _size(messages: list[Received]) -> int:
    """Characters of the bodies: of XML nearly its bytes, and counted in no time."""
    return sum(len(message.body) for message in messages)


def _frame(messages: list[Received], queue_name: str, batch_id: str) -> pl.DataFrame:
    """Rows of bronze, as :data:`BRONZE_SCHEMA` has them."""
    # A lone surrogate, which JSON can spell and UTF-8 cannot, would fail the whole batch.
    bodies = [message.body.encode("utf-8", "replace").decode() for message in messages]
    return pl.DataFrame(
        {
            "message_id": [message.message_id for message in messages],
            "body": bodies,
            "body_sha256": [hashlib.sha256(body.encode()).hexdigest() for body in bodies],
            "sent_at": [message.sent_at for message in messages],
            "received_at": [message.received_at for message in messages],
            "receive_count": [message.receive_count for message in messages],
            "attributes": [message.attributes for message in messages],
            "queue": [queue_name] * len(messages),
            "batch_id": [batch_id] * len(messages),
            "received_date": [message.received_at.date() for message in messages],
        },
        schema=BRONZE_SCHEMA,
    )


def _hand_back(queue: EventQueue, heartbeat: Heartbeat) -> None:
    """Give what was received and not committed back at once, instead of after its timeout."""
    handles = heartbeat.held()
    if not handles:
        return
    reached(Failpoint.HANDING_BACK)
    try:
        queue.hide(handles, 0)
    except LakehouseError:
        return  # it returns by itself when its time is up
