"""The Dagster partition of bronze and silver: the UTC day a message was received.

It is the Delta partition too, so that re-deriving one day replaces exactly one of each.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import dagster as dg

__all__ = ["RECEIVED_DATE", "today"]

RECEIVED_DATE: Final = dg.DailyPartitionsDefinition(
    start_date="2024-01-01",
    timezone="UTC",
    # Without it the last partition is yesterday's, and today's messages have none to go to.
    end_offset=1,
)


def today() -> str:
    """Key of the partition that a message received now belongs to."""
    return datetime.now(UTC).date().isoformat()
