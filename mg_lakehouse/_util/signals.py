"""Handles SIGTERM and Ctrl-C for the length of a block. What a run does about them belongs to :mod:`mg_lakehouse.dagster.interrupts`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["handling"]


@contextmanager
def handling(handler: Callable[[int, FrameType | None], Any] | signal.Handlers, *signals: signal.Signals) -> Iterator[None]:
    """Call ``handler`` for these signals within the block, and restore the former handlers after it. For the main thread only.

    With ``signal.SIG_IGN`` they are ignored within the block.
    """
    before = [signal.signal(number, handler) for number in signals]
    try:
        yield
    finally:
        for number, handler_before in zip(signals, before, strict=True):
            signal.signal(number, handler_before)
