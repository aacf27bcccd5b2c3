"""Whole statements in SQL: a file for each, in a folder by who asks.

A statement names its values as ``$name``. Whoever runs it binds them, or fills them in with :func:`mg_lakehouse.lake.sql.filled_in`.
A test binds each to the tables and columns that the lake has.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["query"]


@cache
def query(name: str) -> str:
    """The statement in ``<name>.sql`` of this folder, such as ``alerts/complaints``."""
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8").rstrip()
