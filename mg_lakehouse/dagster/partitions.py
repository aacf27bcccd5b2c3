"""The Dagster partitions: received messages by UTC day of receipt, daily files by day and type.

The day of receipt is also the Delta partition, so rebuilding a day replaces exactly one of each.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

import dagster as dg

from mg_lakehouse.settings import Settings

__all__ = ["ACTIVITY_DATE", "ACTIVITY_TYPE", "RECEIVED_DATE", "activity_files", "activity_range", "today"]

ACTIVITY_DATE: Final = "activity_date"
ACTIVITY_TYPE: Final = "activity_type"

RECEIVED_DATE: Final = dg.DailyPartitionsDefinition(
    start_date="2024-01-01",
    timezone="UTC",
    # Without it, the last partition is yesterday's, and today's messages have none.
    end_offset=1,
)


def today() -> str:
    """Return the key of the partition of a message received now."""
    return datetime.now(UTC).date().isoformat()


def activity_files(settings: Settings) -> dg.MultiPartitionsDefinition:
    """Partitions of the daily files by day and type, up to yesterday: 17 types make 6,200 a year, and Dagster shows 100,000 well."""
    return dg.MultiPartitionsDefinition(
        {
            ACTIVITY_DATE: dg.DailyPartitionsDefinition(settings.activity_start_date.isoformat(), timezone=settings.activity_timezone),
            ACTIVITY_TYPE: dg.StaticPartitionsDefinition(list(settings.activity_types)),
        }
    )


def activity_range(settings: Settings, first: date, last: date) -> dict[str, str]:
    """Return the tags of a run that fetches the files of all configured types for a range of days."""
    types = settings.activity_types
    return {
        "dagster/asset_partition_range_start": str(dg.MultiPartitionKey({ACTIVITY_DATE: first.isoformat(), ACTIVITY_TYPE: types[0]})),
        "dagster/asset_partition_range_end": str(dg.MultiPartitionKey({ACTIVITY_DATE: last.isoformat(), ACTIVITY_TYPE: types[-1]})),
    }
