"""Drains the queue into bronze: many receivers, one committer, and deletes only after the commit.

The receivers (:mod:`mg_lakehouse.sources.receivers`) fill a buffer that is limited in count, bytes and age. Each full buffer becomes
one Delta commit. Only then are its messages deleted (:mod:`mg_lakehouse.sources.deletes`), while the next buffer fills. A crash
at any point leaves messages in the queue, in bronze or in both, and the commit drops duplicates. Bodies are not parsed here, so
there are no poison messages.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from mg_lakehouse.bronze.append import BatchReceipt, Uncommitted, append_batch
from mg_lakehouse.bronze.read_progress import require_whole
from mg_lakehouse.bronze.tables import BRONZE_SCHEMA, EVENT_FEED
from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.events.formats.envelopes import envelope_of
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import posted_batches, posted_from
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.deletes import Deletes
from mg_lakehouse.sources.heartbeat import Heartbeat
from mg_lakehouse.sources.receivers import Receivers
from mg_lakehouse.sources.sqs import ONE_CALL, EventQueue, Received

__all__ = ["DrainReport", "committed_earlier", "drain"]


@dataclass(frozen=True, slots=True)
class DrainReport:
    """The counts of a drain.

    ``already`` counts deliveries of messages that bronze had; ``corrupted`` those whose body did not match SQS's checksum: they
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

    def plus(self, earlier: DrainReport) -> DrainReport:
        """Return the report with the counts and times of an earlier try."""
        counts = ("received", "new", "already", "deleted", "delete_failures", "corrupted", "commits", "bytes")
        first = [time for time in (self.first_sent_at, earlier.first_sent_at) if time is not None]
        last = [time for time in (self.last_sent_at, earlier.last_sent_at) if time is not None]
        added = {name: getattr(self, name) + getattr(earlier, name) for name in counts}
        return replace(self, first_sent_at=min(first, default=None), last_sent_at=max(last, default=None), **added)


ProgressCallback = Callable[[DrainReport], None]


def drain(
    queue: EventQueue,
    lake: Lake,
    settings: Settings,
    *,
    max_messages: int | None = None,
    max_seconds: float | None = None,
    until_empty: bool = True,
    stop: threading.Event | None = None,
    progress: ProgressCallback | None = None,
) -> DrainReport:
    """Receive, commit and delete until the queue is empty or the budget is spent.

    Args:
        queue: the source of the messages.
        lake: the destination.
        settings: batch sizes, threads and timeouts.
        max_messages: receive at most this many messages.
        max_seconds: receive for at most this long; messages received by then are still committed and deleted.
        until_empty: if false, receive at most as many messages as wait now. A feed that never pauses never leaves its queue empty:
            two messages a second kept a drain going for its whole ten minutes, and everything behind it waiting.
        stop: set it to stop receiving at once; uncommitted messages go back to the queue.
        progress: called after each commit.

    Raises:
        PermanentError, TransientError: everything uncommitted was released to the queue, or will return by itself.
    """
    # Before anything is received: each receive counts towards the dead-letter queue, and a missing lake takes nothing.
    require_whole(lake, EVENT_FEED.name)
    lake.add_missing_columns([EVENT_FEED])
    deadline = time.monotonic() + (settings.max_seconds if max_seconds is None else max_seconds)
    stop = stop or threading.Event()
    if not until_empty:
        # The depth is approximate: it can be 0 while a message waits.
        waiting = max(queue.depth().visible, ONE_CALL)
        max_messages = waiting if max_messages is None else min(max_messages, waiting)
    with Heartbeat(queue, settings.visibility_seconds) as heartbeat:
        receivers = Receivers(queue, settings, heartbeat, stop=stop, deadline=deadline, max_messages=max_messages)
        deletes = Deletes(queue, heartbeat, threads=settings.receivers)
        committer = _Committer(queue, lake, settings, heartbeat, deletes=deletes, progress=progress)
        try:
            while receivers.start():
                while not receivers.finished():
                    committer.take(receivers.next())
                if stop.is_set():
                    break
                committer.flush()
                committer.settle()
            committer.settle()
        finally:
            stop.set()
            receivers.join()
            deletes.close()
            _release(queue, heartbeat)
    if receivers.failure is not None:
        raise receivers.failure
    return replace(committer.report, corrupted=receivers.corrupted, least_margin_seconds=heartbeat.least_margin_seconds)


def committed_earlier(lake: Lake, first: datetime, version: int) -> DrainReport:
    """Sum the ledgers of bronze's commits since ``first`` and up to a version: what an earlier try committed and told nobody.

    Its deletes are in no ledger.

    Raises:
        PermanentError, TransientError: the table cannot be read.
    """
    handle = lake.open(EVENT_FEED.layer, EVENT_FEED.name)
    accounts = [] if handle is None else [account for account in posted_from(posted_batches(handle), first) if account.version <= version]
    ledgers = [account.ledger for account in accounts]
    sent = [datetime.fromisoformat(time) for ledger in ledgers for time in (ledger.first_sent_at, ledger.last_sent_at) if time]
    return DrainReport(
        received=sum(ledger.received for ledger in ledgers),
        new=sum(ledger.new for ledger in ledgers),
        already=sum(ledger.already + ledger.repeated for ledger in ledgers),
        delete_failures=sum(ledger.delete_failures for ledger in ledgers),
        commits=len(ledgers),
        bytes=sum(ledger.bytes for ledger in ledgers),
        first_sent_at=min(sent, default=None),
        last_sent_at=max(sent, default=None),
    )


class _Committer:
    """Collects messages into batches, commits each, and has its messages deleted while the next one fills."""

    def __init__(
        self,
        queue: EventQueue,
        lake: Lake,
        settings: Settings,
        heartbeat: Heartbeat,
        *,
        deletes: Deletes,
        progress: ProgressCallback | None,
    ) -> None:
        self._queue = queue
        self._lake = lake
        self._settings = settings
        self._heartbeat = heartbeat
        self._deletes = deletes
        self._progress = progress
        self._messages: dict[str, Received] = {}
        self._handles: dict[str, list[str]] = {}
        # Only the latest handle of a message deletes it; SQS answers older ones with success and does nothing.
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

    def settle(self) -> None:
        """Wait for the deletes under way, and count them."""
        done = self._deletes.settle()
        if done is None:
            return
        self._uncommitted = self._uncommitted._replace(delete_failures=self._uncommitted.delete_failures + done.failed)
        self.report = replace(
            self.report,
            deleted=self.report.deleted + done.deleted,
            delete_failures=self.report.delete_failures + done.failed,
        )
        reached(Failpoint.BATCH_DELETED)

    def flush(self) -> None:
        """Commit the collected messages and start to delete them."""
        self.settle()
        if not self._messages:
            return
        batch_id = uuid.uuid4().hex
        received = sum(map(len, self._handles.values()))
        waiting = self._account(received)
        receipt = append_batch(self._lake, _frame(list(self._messages.values()), self._queue.name, batch_id), batch_id, waiting)
        reached(Failpoint.BATCH_COMMITTED)
        self._uncommitted = Uncommitted() if receipt.new else waiting._replace(already=waiting.already + receipt.already)
        self._deletes.start({self._latest[message][1]: handles for message, handles in self._handles.items()})
        self._report(received, receipt)
        self._messages, self._handles, self._latest, self._bytes = {}, {}, {}, 0
        if self._progress is not None:
            self._progress(self.report)

    def _account(self, received: int) -> Uncommitted:
        """Return what the commit's ledger records beside its rows."""
        margin = self._heartbeat.least_margin_seconds
        return self._uncommitted._replace(
            repeated=self._uncommitted.repeated + received - len(self._messages),
            least_margin_seconds=None if margin is None else round(margin, 1),
        )

    def _report(self, received: int, receipt: BatchReceipt) -> None:
        before = self.report
        sent = [message.sent_at for message in self._messages.values()]
        self.report = replace(
            before,
            received=before.received + received,
            new=before.new + receipt.new,
            already=before.already + received - receipt.new,
            commits=before.commits + (1 if receipt.new else 0),
            bytes=before.bytes + self._bytes,
            first_sent_at=min(sent if before.first_sent_at is None else [before.first_sent_at, *sent]),
            last_sent_at=max(sent if before.last_sent_at is None else [before.last_sent_at, *sent]),
        )

    def _add(self, message: Received) -> None:
        if not self._messages:
            self._since = time.monotonic()
        self._handles.setdefault(message.message_id, []).append(message.receipt_handle)
        # By SQS's count: messages of two receivers may arrive here in the other order.
        if message.receive_count >= self._latest.get(message.message_id, (0, ""))[0]:
            self._latest[message.message_id] = message.receive_count, message.receipt_handle
        if message.message_id not in self._messages:
            self._messages[message.message_id] = message
            self._bytes += len(message.body.encode("utf-8", "replace"))


def _frame(messages: list[Received], queue_name: str, batch_id: str) -> pl.DataFrame:
    """Make bronze rows, as :data:`BRONZE_SCHEMA` has them."""
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
            "envelope": [envelope_of(body) for body in bodies],
        },
        schema=BRONZE_SCHEMA,
    )


def _release(queue: EventQueue, heartbeat: Heartbeat) -> None:
    """Release what was received and not committed at once, instead of after its timeout."""
    handles = heartbeat.held()
    if not handles:
        return
    reached(Failpoint.RELEASING)
    try:
        queue.hide(handles, 0)
    except LakehouseError:
        return  # it returns by itself after its timeout
