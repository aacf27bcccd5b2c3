"""Receives from the queue in threads, within the room that the committer leaves them.

The threads pause while about another commit's worth waits, in messages or in bytes; the heartbeat holds what they receive.
Committing and deleting belong to :mod:`mg_lakehouse.bronze.event_feed`.
"""

from __future__ import annotations

import queue as stdlib_queue
import threading
import time
from typing import Final

from mg_lakehouse._util.backoff import backoff_seconds
from mg_lakehouse.errors import LakehouseError, TransientError
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.heartbeat import Heartbeat
from mg_lakehouse.sources.sqs import ONE_CALL, EventQueue, InFlightLimitError, Received

__all__ = ["Receivers"]

_FAILED_RECEIVES_ALLOWED: Final = 5
_TICK_SECONDS: Final = 0.2


class Receivers:
    """Threads that receive until each finds nothing.

    An empty answer does not mean an empty queue: at the in-flight limit long polling finds nothing either, and short polling can
    miss messages anywhere. So when the threads end, and their messages are deleted, they start again as long as messages wait.
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
        # About another commit's worth may wait for the committer, in messages and in bytes; then receiving pauses. With a limit on
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
        """Start the threads, the first time or, if messages still wait, again. Returns whether they were started."""
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
        """Whether to go on. Not after a round without messages: the depth is approximate, or other consumers hold all that may be in flight."""
        if not self._brought:
            self.failure = self.failure or self._at_limit
        if self._brought == self._brought_before or self.failure is not None or self._left == 0 or time.monotonic() >= self._deadline:
            return False
        try:
            return self._queue.depth().visible > 0
        except LakehouseError:
            return False  # everything received is in bronze; the next drain takes the rest

    def join(self) -> None:
        """Wait for the threads, and take what they received: one may wait for room. Safe if none was started."""
        while any(thread.is_alive() for thread in self._threads):
            self.next()

    def finished(self) -> bool:
        """Whether all threads have ended and all received messages were taken."""
        return not any(thread.is_alive() for thread in self._threads) and self._arrived.empty()

    def next(self) -> list[Received]:
        """Return the next messages, which makes room for more; empty if none came within a moment."""
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
        """Wait until the committer has caught up, or receiving must end."""
        with self._room:
            while not self._stop.is_set() and time.monotonic() < self._deadline and self._is_full():
                self._room.wait(_TICK_SECONDS)

    def _is_full(self) -> bool:
        return self._waiting_messages >= self._settings.batch_messages or self._waiting_bytes >= self._settings.batch_bytes

    def _run(self) -> None:
        failures = 0
        while True:
            self._await_room()
            if self._stop.is_set() or time.monotonic() >= self._deadline or not (count := self._reserve()):
                return
            try:
                messages, corrupted = self._queue.receive(
                    at_most=count, wait_seconds=self._settings.wait_seconds, visibility_seconds=self._settings.visibility_seconds
                )
            except InFlightLimitError as error:
                self._give_back(count)
                self._at_limit = error
                return
            except TransientError as error:
                self._give_back(count)
                failures += 1
                if failures > _FAILED_RECEIVES_ALLOWED:
                    self.failure = error
                    return
                self._stop.wait(backoff_seconds(failures, first=0.2, longest=5.0))
                continue
            except LakehouseError as error:
                self.failure = error
                self._stop.set()
                return
            failures = 0
            self._give_back(count - len(messages))
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
        """Return how many messages may be requested now, and reserve them; 0 when the budget is spent."""
        with self._lock:
            if self._left is None:
                return ONE_CALL
            count = min(ONE_CALL, self._left)
            self._left -= count
            return count

    def _give_back(self, count: int) -> None:
        with self._lock:
            if self._left is not None:
                self._left += count


def _size(messages: list[Received]) -> int:
    """Count the characters of the bodies: nearly the bytes of XML, and fast to count."""
    return sum(len(message.body) for message in messages)
