"""The Dagster partitions: of what is received, the UTC day of that; of the daily files, their day and type.

The day of receipt is the Delta partition too, so that re-deriving one day replaces exactly one of each.
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
    # Without it the last partition is yesterday's, and today's messages have none to go to.
    end_offset=1,
)


def today() -> str:
    """Key of the partition that a message received now belongs to."""
    return datetime.now(UTC).date().isoformat()


def activity_files(settings: Settings) -> dg.MultiPartitionsDefinition:
    """Days and types of the daily files, up to yesterday's: 17 types make 6,200 a year, and Dagster shows 100,000 well."""
    return dg.MultiPartitionsDefinition(
        {
            ACTIVITY_DATE: dg.DailyPartitionsDefinition(settings.activity_start_date.isoformat(), timezone=settings.activity_timezone),
            ACTIVITY_TYPE: dg.StaticPartitionsDefinition(list(settings.activity_types)),
        }
    )


def activity_range(settings: Settings, first: date, last: date) -> dict[str, str]:
    """Tags of a run that fetches the files of all configured types of some days."""
    types = settings.activity_types
    return {
        "dagster/asset_partition_range_start": str(dg.MultiPartitionKey({ACTIVITY_DATE: first.isoformat(), ACTIVITY_TYPE: types[0]})),
        "dagster/asset_partition_range_end": str(dg.MultiPartitionKey({ACTIVITY_DATE: last.isoformat(), ACTIVITY_TYPE: types[-1]})),
    }
