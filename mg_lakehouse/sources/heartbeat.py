"""Keeps received messages hidden until they are deleted.

The heartbeat extends every held handle at a third of the visibility timeout. It drops a handle when SQS refuses to extend it
further (12 hours after the receive) or after two failed extensions: the message comes again, and bronze drops the duplicate.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final, Self

from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.sources.sqs import EventQueue

__all__ = ["Heartbeat"]

_LONGEST_HOLD_SECONDS: Final = 11.5 * 3600
_FAILURES_ALLOWED: Final = 2


@dataclass(slots=True)
class _Held:
    since: float
    hidden_until: float
    failures: int = 0


class Heartbeat:
    """Holds receipt handles and extends them from its own thread. Use as a context manager."""

    def __init__(self, queue: EventQueue, visibility_seconds: int) -> None:
        self._queue = queue
        self._visibility = visibility_seconds
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="visibility-heartbeat", daemon=True)
        self.least_margin_seconds: float | None = None
        """Least time that was left when a handle was released: the early warning of a timeout that is too short."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def hold(self, handle: str) -> None:
        """Keep a handle's message hidden from now on."""
        now = time.monotonic()
        with self._lock:
            self._held[handle] = _Held(now, now + self._visibility)

    def release(self, handles: list[str]) -> None:
        """Stop extending these handles: their messages are being deleted or released."""
        now = time.monotonic()
        with self._lock:
            for handle in handles:
                if held := self._held.pop(handle, None):
                    margin = held.hidden_until - now
                    self.least_margin_seconds = margin if self.least_margin_seconds is None else min(self.least_margin_seconds, margin)

    def held(self) -> list[str]:
        """Return the handles that are held now."""
        with self._lock:
            return list(self._held)

    def _beat(self) -> None:
        while not self._stopped.wait(self._visibility / 3):
            self._extend()

    def _extend(self) -> None:
        now = time.monotonic()
        with self._lock:
            for handle in [handle for handle, held in self._held.items() if now - held.since > _LONGEST_HOLD_SECONDS]:
                del self._held[handle]
            handles = list(self._held)
        # Ten at a time, so that one failed call costs ten handles a try, not all of them.
        for start in range(0, len(handles), 10):
            chunk = handles[start : start + 10]
            try:
                failed = set(self._queue.hide(chunk, self._visibility))
            except LakehouseError:
                failed = set(chunk)
            self._note(chunk, failed)

    def _note(self, handles: list[str], failed: set[str]) -> None:
        until = time.monotonic() + self._visibility
        with self._lock:
            for handle in handles:
                if (held := self._held.get(handle)) is None:
                    continue
                if handle not in failed:
                    held.hidden_until, held.failures = until, 0
                    continue
                held.failures += 1
                if held.failures >= _FAILURES_ALLOWED:
                    del self._held[handle]
