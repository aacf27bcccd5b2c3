"""Who wants to know how far long work is: listeners in this process, such as the command line's progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["Step", "announce", "listening"]


class Step(NamedTuple):
    """How far a stage is: ``done`` of ``unit``, in words of numbers only."""

    stage: str
    done: int
    unit: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.done:,} {self.unit}"


_listeners: list[Callable[[Step], None]] = []


def announce(step: Step) -> None:
    """Tell every listener."""
    for listener in tuple(_listeners):
        listener(step)


@contextmanager
def listening(listener: Callable[[Step], None]) -> Iterator[None]:
    """Have ``listener`` told of every step within the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
