"""What can be asked of the list of suppressions. It imports nothing large, so that `--help` does not pay for what reads the list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from mg_lakehouse.events.catalogue import Channel

__all__ = ["Channel", "Exported", "Format", "Reason", "Wanted"]

Format = Literal["csv", "parquet"]

Reason = Literal["hard_bounce", "unsubscribe", "complaint", "sms_stop", "sms_invalid_address", "dead_push_token"]
"""Why an address must get nothing more; a test holds them against the dbt project's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows; all of the list where nothing is said.

    ``since`` are entries that the lake first had all of at this time or later, event and address. ``evidence_since`` is a UTC date: entries with a
    reason whose earliest event is of it or later, whenever it came. ``removed_since`` are entries that left the list, by when the lake had all that
    removed them, in place of those on it. Times are UTC.
    """

    since: datetime | None = None
    evidence_since: date | None = None
    removed_since: datetime | None = None
    channel: Channel | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote: ``rows``, and the ``mark`` at which the next one begins, in UTC; ``None`` where an older release built the table.

    ``is_whole`` says that all entries were written although a mark was given, for entries may have come with times that it had passed.
    """

    rows: int
    mark: datetime | None = None
    is_whole: bool = False
