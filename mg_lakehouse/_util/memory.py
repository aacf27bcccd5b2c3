"""Memory that was freed, given back to the system.

The C library of most Linux systems keeps what each thread freed for that thread, and a slice is worked on by many. Of a backlog of ten million
events the flattening held 1,857 MiB at most, growing for thirty slices; given back after each slice it was 1,302 MiB, flat, in the same time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

__all__ = ["give_back"]


def give_back() -> None:
    """Return the pages that hold nothing to the system. It takes some milliseconds, and does nothing where the C library is not glibc."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
