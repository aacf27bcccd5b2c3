"""How long to wait before trying again."""

from __future__ import annotations

import random

__all__ = ["backoff_seconds"]


def backoff_seconds(attempt: int, *, first: float, longest: float) -> float:
    """Seconds to wait before a retry: exponential, with equal jitter, so that those who failed together do not meet again.

    Args:
        attempt: 1 for the first retry.
        first: the most that the first retry waits, doubled with each.
        longest: the most that any waits.
    """
    most = min(longest, first * 2 ** (attempt - 1))
    return random.uniform(most / 2, most)  # noqa: S311  no secret
