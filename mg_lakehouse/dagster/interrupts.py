"""SIGTERM and Ctrl-C: what is under way ends well first, and a command ends in a sentence.

Dagster raises an interrupt wherever the signal finds the code. Between a commit and its deletes that is safe, for the messages
come again and are absorbed, but it is waste, and it is not what an orchestrator that stops a container expects.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Final

import dagster as dg

from mg_lakehouse._util.signals import handling
from mg_lakehouse.errors import InterruptedRunError

__all__ = ["STOPPED", "in_a_sentence", "put_off"]

STOPPED: Final = "The run was stopped. What it committed stays, everything else is back in the queue: run it again to go on."

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def put_off() -> Iterator[threading.Event]:
    """Have SIGTERM and Ctrl-C set the event within, and take effect as before when it ends.

    Signals reach the main thread only; elsewhere the event is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)
        stop.set()

    try:
        with handling(note, *_SIGNALS):
            yield stop
    finally:
        if came:
            signal.raise_signal(came[0])


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Have SIGTERM do what Ctrl-C does, and both end as an error of ours.

    Raises:
        InterruptedRunError: one of them came.
    """
    main = threading.current_thread() is threading.main_thread()
    try:
        with handling(signal.default_int_handler, signal.SIGTERM) if main else nullcontext():
            yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interrupt:
        raise InterruptedRunError(STOPPED) from interrupt
