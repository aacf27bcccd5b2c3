"""Reports the progress of long work to listeners in this process, such as the command line's progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["Step", "on_remark", "on_step", "remark", "report_step"]


class Step(NamedTuple):
    """The progress of a stage: ``done`` of ``unit``. It holds numbers and no content."""

    stage: str
    done: int
    unit: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.done:,} {self.unit}"


_listeners: list[Callable[[Step], None]] = []


def report_step(step: Step) -> None:
    """Report a step to every listener."""
    for listener in tuple(_listeners):
        listener(step)


@contextmanager
def on_step(listener: Callable[[Step], None]) -> Iterator[None]:
    """Call ``listener`` for every step within the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


_remark_listeners: list[Callable[[str], None]] = []


def remark(sentence: str) -> None:
    """Report to every listener a sentence for people who wait, such as what the program waits for."""
    for listener in tuple(_remark_listeners):
        listener(sentence)


@contextmanager
def on_remark(listener: Callable[[str], None]) -> Iterator[None]:
    """Call ``listener`` for every remark within the block."""
    _remark_listeners.append(listener)
    try:
        yield
    finally:
        _remark_listeners.remove(listener)
