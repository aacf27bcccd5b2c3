"""Finds the messages that make work on a batch fail, so that one of them never stops the others.

An unforeseen message may raise anything. A failure of work on content alone becomes a :class:`ContentError`. If it comes twice from the same messages,
:func:`sparing` finds those at fault and does the work without them. Failures of the machine (I/O, memory, a full disk) never count: they
say nothing about a message.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import polars as pl

from mg_lakehouse.errors import LakehouseError

__all__ = ["ContentError", "TooManyCulpritsError", "content_errors", "sparing"]

Result = TypeVar("Result")

_OF_THE_MACHINE: Final = (MemoryError, OSError, LakehouseError)
_PACKAGE: Final = Path(__file__).parents[1]


class ContentError(Exception):
    """Work on the content of messages failed. Its text is the error's type and our line of code: the error's own text may hold content."""


class TooManyCulpritsError(Exception):
    """More messages fail than may be set aside: the fault is not in the messages. ``reason`` is that of the last."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def content_errors(*others: type[BaseException]) -> Iterator[None]:
    """Turn failures within the block into :class:`ContentError`, except failures of the machine and the ``others``."""
    try:
        yield
    # Polars panics in unexpected calculations, and a panic is not an Exception.
    except (Exception, pl.exceptions.PanicException) as error:
        # A stream of delta-rs raises a bare Exception for any failure.
        if type(error) is Exception or isinstance(error, (ContentError, *_OF_THE_MACHINE, *others)):
            raise
        raise ContentError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """Return the type and place of an error, such as ``OverflowError in lake/file_stats.py, line 77``."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE) and frame.filename != __file__]
    place = f" in {Path(own[-1].filename).relative_to(_PACKAGE).as_posix()}, line {own[-1].lineno}" if own else ""
    return f"{type(error).__name__}{place}"


def sparing(messages: Sequence[str], work: Callable[[Sequence[str]], Result], *, at_most: int) -> tuple[Result, dict[str, str]]:
    """Do some work on messages, without those that make it fail.

    Args:
        messages: ids of messages, in order.
        work: called with some of them, in order; a :class:`ContentError` that it raises is traced to its messages.
        at_most: how many may be left out.

    Returns:
        The result of the work on all others, and the reason for each message that is left out. Of two that fail only together, the later is left out.

    Raises:
        ContentError: the failure did not come again.
        TooManyCulpritsError: more than ``at_most`` fail.
    """
    left_out: dict[str, str] = {}
    good = 0
    while True:
        kept = [message for message in messages if message not in left_out]
        try:
            return work(kept), left_out
        except ContentError as error:
            reason = str(error)
        if not kept or _fails(kept, work) != reason:
            # The same bytes pass, or fail otherwise, the second time: no message is at fault.
            return work(kept), left_out
        if len(left_out) >= at_most:
            raise TooManyCulpritsError(reason)
        good = _passing(kept, work, good)
        left_out[kept[good]] = _fails(kept[: good + 1], work) or reason


def _passing(messages: Sequence[str], work: Callable[[Sequence[str]], Result], good: int) -> int:
    """Return how many of some messages, from the first on, pass together. All of them fail, and the first ``good`` are known to pass."""
    bad = len(messages)
    while bad - good > 1:
        middle = (good + bad) // 2
        if _fails(messages[:middle], work) is None:
            good = middle
        else:
            bad = middle
    return good


def _fails(messages: Sequence[str], work: Callable[[Sequence[str]], Result]) -> str | None:
    try:
        work(messages)
    except ContentError as error:
        return str(error)
    return None
