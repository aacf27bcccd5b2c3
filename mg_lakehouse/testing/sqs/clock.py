"""The time that an emulator goes by: the machine's, or one that a test moves."""

from __future__ import annotations

import threading
import time
from typing import Protocol

__all__ = ["Clock", "RealClock", "VirtualClock"]


class Clock(Protocol):
    """Seconds since 1970, and whether they pass by themselves."""

    @property
    def passes(self) -> bool:
        """Whether time goes on by itself; where it does not, a long poll is answered at once."""
        ...

    def now(self) -> float:
        """Seconds since 1970."""
        ...


class RealClock:
    """The machine's time, going on evenly even where somebody sets the machine's clock."""

    passes = True

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since 1970."""
        return self._offset + time.monotonic()


class VirtualClock:
    """Time that stands still until :meth:`advance`."""

    passes = False

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since 1970."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        with self._lock:
            self._now += seconds
