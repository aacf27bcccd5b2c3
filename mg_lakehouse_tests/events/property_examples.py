"""How many examples a property is tried with: a quarter of them in each run, the same ones each time; all, and new ones, in `make check-long`."""

from __future__ import annotations

from hypothesis import settings

__all__ = ["examples"]


def examples(count: int) -> settings:
    """A decorator: ``count`` examples in the long run, whose profile takes new ones each time."""
    return settings(max_examples=count // 4 if settings().derandomize else count)
