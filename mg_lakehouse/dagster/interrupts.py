"""SIGTERM and Ctrl-C: work in progress ends cleanly first, and a command ends with one clear error.

Dagster raises an interrupt wherever the signal meets the code. Between a commit and its deletes that is safe, because the messages come again
and are absorbed. But it is waste, and an orchestrator that stops a container does not expect it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Final

from mg_lakehouse._util.signals import handling
from mg_lakehouse.errors import InterruptedRunError

__all__ = ["STOPPED", "defer_signals", "interrupt_as_error"]

STOPPED: Final = "The run was stopped. What it committed stays, everything else is back in the queue: run it again to go on."

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def defer_signals() -> Iterator[threading.Event]:
    """Defer SIGTERM and Ctrl-C: they set the event inside the block, and take effect as usual after it.

    Signals reach only the main thread; in other threads the event is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        stop.set()

    try:
        with handling(note, *_SIGNALS):
            yield stop
    finally:
        if received:
            signal.raise_signal(received[0])


@contextmanager
def interrupt_as_error() -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into an error of ours.

    Raises:
        InterruptedRunError: one of them was received.
    """
    main = threading.current_thread() is threading.main_thread()
    try:
        with handling(signal.default_int_handler, signal.SIGTERM) if main else nullcontext():
            yield
    except _interrupts() as interrupt:
        raise InterruptedRunError(STOPPED) from interrupt


def _interrupts() -> tuple[type[BaseException], ...]:
    """Ctrl-C, and what Dagster makes of a signal where it is imported: a command that runs without it does not wait 0.7 s for it."""
    dagster = sys.modules.get("dagster")
    return (KeyboardInterrupt,) if dagster is None else (KeyboardInterrupt, dagster.DagsterExecutionInterruptedError)
