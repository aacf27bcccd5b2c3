"""Deletes of committed messages, beside the next receive: on a few threads, one batch at a time.

Only what a committed version of bronze holds is ever given to it. A delete that fails costs its own ten; what cannot be
deleted comes again and bronze absorbs it.
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
    """How many messages of a batch were deleted, and of how many that is not known."""

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
        """Begin to delete messages. The keys are the handles to delete by, the values all handles that are held of the same message."""
        assert self._tens is None, "the batch before was not settled"
        handles = list(held)
        tens = (handles[start : start + ONE_CALL] for start in range(0, len(handles), ONE_CALL))
        self._tens = [self._pool.submit(self._delete, ten, held) for ten in tens]

    def settle(self) -> Deleted | None:
        """Wait for what was begun; ``None`` where nothing was.

        Raises:
            PermanentError: not known what was deleted; what was not comes again.
        """
        if self._tens is None:
            return None
        tens, self._tens = self._tens, None
        done = [ten.result() for ten in tens]
        return Deleted(sum(ten.deleted for ten in done), sum(ten.failed for ten in done))

    def close(self) -> None:
        """Wait for what was begun, whatever comes of it, and end the threads."""
        self._pool.shutdown()

    def _delete(self, handles: Sequence[str], held: Mapping[str, Sequence[str]]) -> Deleted:
        """Delete, and try again what failed."""
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
        self._heartbeat.let_go([every for handle in handles for every in held[handle]])
        return Deleted(len(handles) - len(remaining), len(remaining))
