"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["until_busy", "wait_until"]


def wait_until(holds: Callable[[], bool], *, seconds: float) -> None:
    """Look at a condition until it holds; fail the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it did not hold within {seconds} s"
        time.sleep(0.1)


def until_busy(pid: int, *, seconds: float = 60) -> None:
    """Wait until a process has reckoned for half a second from now."""
    begun = _processor_seconds(pid)
    wait_until(lambda: _processor_seconds(pid) > begun + 0.5, seconds=seconds)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
