"""Wall and CPU time of a block."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Timed", "timed"]


@dataclass
class Timed:
    """Seconds that a block took: by the clock, and of all cores together, threads and ended children included."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def timed() -> Iterator[Timed]:
    """Time a block; the numbers are there when it ends."""
    result = Timed()
    wall, cpu = time.perf_counter(), _cpu_seconds()
    try:
        yield result
    finally:
        result.seconds, result.cpu_seconds = time.perf_counter() - wall, _cpu_seconds() - cpu


def _cpu_seconds() -> float:
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system
