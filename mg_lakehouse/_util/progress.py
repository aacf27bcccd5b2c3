"""Who wants to know how far long work is: listeners in this process, such as the command line's progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["Step", "announce", "hearing", "listening", "remark"]


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


_hearers: list[Callable[[str], None]] = []


def remark(sentence: str) -> None:
    """Tell every hearer something that somebody who waits wants to know, such as what is waited for."""
    for hearer in tuple(_hearers):
        hearer(sentence)


@contextmanager
def hearing(hearer: Callable[[str], None]) -> Iterator[None]:
    """Have ``hearer`` told of every remark within the block."""
    _hearers.append(hearer)
    try:
        yield
    finally:
        _hearers.remove(hearer)
