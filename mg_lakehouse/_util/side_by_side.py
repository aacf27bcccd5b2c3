"""Waits for several answers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["side_by_side"]

_AT_ONCE: Final = 16

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do the same for some items in threads, 16 at a time, and return the results in order: most of the time goes to waiting for the store.

    Raises:
        Exception: the first that ``work`` raised, in the items' order.
    """
    waiting = list(items)
    if len(waiting) < 2:
        return [work(item) for item in waiting]
    with ThreadPoolExecutor(min(_AT_ONCE, len(waiting))) as pool:
        return list(pool.map(work, waiting))
