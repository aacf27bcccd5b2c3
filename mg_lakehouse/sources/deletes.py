"""Deletes committed messages while the next ones are received: on a few threads, one batch at a time.

It gets only messages that are in a committed version of bronze. A failed call affects only its own ten messages; what cannot be
deleted comes again, and bronze drops the duplicate.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from mg_lakehouse._util.backoff import backoff_seconds
from mg_lakehouse.errors import TransientError
from mg_lakehouse.sources.heartbeat import Heartbeat
from mg_lakehouse.sources.sqs import ONE_CALL, EventQueue

__all__ = ["Deleted", "Deletes"]

_TRIES: Final = 3


class Deleted(NamedTuple):
    """How many messages of a batch were deleted, and for how many that is unknown."""

    deleted: int
    failed: int


class Deletes:
    """Deletes one batch in the background."""

    def __init__(self, queue: EventQueue, heartbeat: Heartbeat, *, threads: int) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="delete")
        self._tens: list[Future[Deleted]] | None = None

    def start(self, held: Mapping[str, Sequence[str]]) -> None:
        """Start to delete messages. The keys are the handles to delete by, the values all held handles of the same message."""
        assert self._tens is None, "the previous batch was not settled"
        handles = list(held)
        tens = (handles[start : start + ONE_CALL] for start in range(0, len(handles), ONE_CALL))
        self._tens = [self._pool.submit(self._delete, ten, held) for ten in tens]

    def settle(self) -> Deleted | None:
        """Wait for the deletes under way; ``None`` if there are none.

        Raises:
            PermanentError: it is unknown what was deleted; the rest comes again.
        """
        if self._tens is None:
            return None
        tens, self._tens = self._tens, None
        done = [ten.result() for ten in tens]
        return Deleted(sum(ten.deleted for ten in done), sum(ten.failed for ten in done))

    def close(self) -> None:
        """Wait for the deletes under way, whatever their result, and end the threads."""
        self._pool.shutdown()

    def _delete(self, handles: Sequence[str], held: Mapping[str, Sequence[str]]) -> Deleted:
        """Delete messages, and retry those that failed."""
        remaining = list(handles)
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(backoff_seconds(attempt, first=0.2, longest=5.0))
            try:
                remaining = self._queue.delete(remaining)
            except TransientError:
                continue
            if not remaining:
                break
        self._heartbeat.release([duplicate for handle in handles for duplicate in held[handle]])
        return Deleted(len(handles) - len(remaining), len(remaining))
