"""The rows of the goals, one module each: what is measured, against what, and what must come out of it.

A module has ``NAME``, ``TITLE`` and ``measure(context) -> Outcome``; the order here is that of the page.
"""

from __future__ import annotations

from typing import Final

__all__ = ["GOALS"]

GOALS: Final = ("flatten", "cliffs", "end_to_end", "growth", "drain", "freshness", "backfill", "daily_file", "stages", "store")
"""Modules of this package."""
