"""Computes how long to wait before a retry."""

from __future__ import annotations

import random

__all__ = ["backoff_seconds"]


def backoff_seconds(attempt: int, *, first: float, longest: float) -> float:
    """Return the seconds to wait before a retry: exponential, with equal jitter, so that callers who failed together retry apart.

    Args:
        attempt: 1 for the first retry.
        first: the longest wait of the first retry; it doubles with each further one.
        longest: the longest wait of any retry.
    """
    most = min(longest, first * 2 ** (attempt - 1))
    return random.uniform(most / 2, most)  # noqa: S311  no secret
