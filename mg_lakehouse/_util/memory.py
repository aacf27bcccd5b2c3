"""Returns freed memory to the system.

The C library of most Linux systems keeps memory for the thread that freed it, and many threads work on a slice. With a backlog of ten million
events the flattening reached 1,857 MiB, growing for thirty slices; with a release after each slice it was 1,302 MiB, flat, in the same time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

__all__ = ["release_freed_memory"]


def release_freed_memory() -> None:
    """Return empty pages to the system. It takes some milliseconds, and does nothing if the C library is not glibc."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
