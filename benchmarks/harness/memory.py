"""Resident memory of a process and all its children over time, by looking at it from outside."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, NamedTuple, Self

import psutil

__all__ = ["MemoryCurve", "MemoryPoint", "thinned"]

_EVERY_SECONDS: Final = 0.02
_LOOK_FOR_CHILDREN_SECONDS: Final = 0.25
"""To find the children, all processes of the machine are looked at: fifty times a second that took a third of a core from what was measured."""

_KEPT_EVERY_SECONDS: Final = 0.25


class MemoryPoint(NamedTuple):
    """Seconds since the beginning, and the greatest resident bytes seen since the point before."""

    seconds: float
    bytes: int


class MemoryCurve:
    """A context manager that looks at a process tree fifty times a second, and four times for new children. ``peak_bytes`` is the most it saw."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-curve", daemon=True)
        self.peak_bytes = 0
        self.points: list[MemoryPoint] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        began = kept = time.monotonic()
        looked = began - _LOOK_FOR_CHILDREN_SECONDS
        greatest = 0
        tree: list[psutil.Process] = []
        while True:
            if time.monotonic() - looked >= _LOOK_FOR_CHILDREN_SECONDS:
                looked, tree = time.monotonic(), _tree(self._pid)
            greatest = max(greatest, _resident(tree))
            self.peak_bytes = max(self.peak_bytes, greatest)
            now = time.monotonic()
            over = self._over.is_set()
            if now - kept >= _KEPT_EVERY_SECONDS or over:
                self.points.append(MemoryPoint(now - began, greatest))
                kept, greatest = now, 0
            if over:
                return
            self._over.wait(_EVERY_SECONDS)


def _tree(pid: int) -> list[psutil.Process]:
    """The process and all below it; nothing once it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(tree: list[psutil.Process]) -> int:
    """Bytes that the processes hold, those of them that have not ended."""
    total = 0
    for each in tree:
        try:
            total += each.memory_info().rss
        except psutil.Error:
            continue
    return total


def thinned(points: list[MemoryPoint], *, at_most: int = 120) -> list[MemoryPoint]:
    """The curve in fewer points, each the greatest of those it stands for."""
    step = max(1, -(-len(points) // at_most))
    groups = (points[start : start + step] for start in range(0, len(points), step))
    return [MemoryPoint(group[-1].seconds, max(point.bytes for point in group)) for group in groups]
