"""Handlers of SIGTERM and Ctrl-C for the length of a block. What a run does about them is :mod:`mg_lakehouse.dagster.interrupts`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["handling"]


@contextmanager
def handling(handler: Callable[[int, FrameType | None], Any], *signals: signal.Signals) -> Iterator[None]:
    """Have ``handler`` called for these signals within, and what was called before afterwards. For the main thread only."""
    before = [signal.signal(each, handler) for each in signals]
    try:
        yield
    finally:
        for each, handler_before in zip(signals, before, strict=True):
            signal.signal(each, handler_before)
