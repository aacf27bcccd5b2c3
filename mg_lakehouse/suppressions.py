"""What can be asked of the list of suppressions. It imports nothing large, so that `--help` does not pay for what reads the list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from mg_lakehouse.events.catalogue import Channel

__all__ = ["Channel", "Format", "Reason", "Wanted"]

Format = Literal["csv", "parquet"]

Reason = Literal["hard_bounce", "unsubscribe", "complaint", "sms_stop", "sms_invalid_address", "dead_push_token"]
"""Why an address must get nothing more; a test holds them against the dbt project's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows; all of them where nothing is said.

    ``since`` is a UTC date: rows with a reason that was first known on it or later, by the time of its evidence.
    """

    since: date | None = None
    channel: Channel | None = None
    reason: Reason | None = None
