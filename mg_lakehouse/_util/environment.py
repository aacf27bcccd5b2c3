"""Sets environment variables of this process for the length of a block."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["set_environment"]


@contextmanager
def set_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables within the block, and restore their former values after it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
