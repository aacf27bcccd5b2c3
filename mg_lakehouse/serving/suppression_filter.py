"""The filters and results of a suppression export. Imports nothing large, so `--help` stays fast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from mg_lakehouse.events.catalogue import Channel

__all__ = ["Channel", "Exported", "Format", "Reason", "Wanted"]

Format = Literal["csv", "parquet"]

Reason = Literal["hard_bounce", "unsubscribe", "complaint", "sms_stop", "sms_invalid_address", "dead_push_token"]
"""Why an address must get nothing more; a test compares these with the dbt project's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter of the list; by default all rows.

    ``since`` selects entries whose event and address the lake first had at this time or later. ``evidence_since`` is a UTC date: it selects
    entries with a reason whose earliest event is on that date or later, whenever it arrived. ``removed_since`` selects entries that left the list
    instead of those on it, by the time at which the lake had everything that removed them. Times are UTC.
    """

    since: datetime | None = None
    evidence_since: date | None = None
    removed_since: datetime | None = None
    channel: Channel | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """The result of an export: ``rows``, and the ``mark`` at which the next one begins, in UTC; ``None`` if an older release built the table.

    ``is_whole``: all entries were written despite a given mark, because entries may have arrived with times before it.
    """

    rows: int
    mark: datetime | None = None
    is_whole: bool = False
