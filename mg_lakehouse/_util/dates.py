"""Days: lists them, finds where one begins and ends in a time zone, and steps within Python's calendar.

Times of events are of the years 1900 to 2199, but users also ask for days, and an older release took any year. Python holds the years
1 to 9999 and raises OverflowError beyond them: a step of this module stops at their first or last moment.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

__all__ = ["FIRST_MOMENT", "LAST_MOMENT", "days_between", "moved", "of_milliseconds", "shifted", "span_of_day"]

FIRST_MOMENT: Final = datetime.min.replace(tzinfo=UTC)
LAST_MOMENT: Final = datetime.max.replace(tzinfo=UTC)


def days_between(first: date, last: date) -> list[date]:
    """List the days from the first to the last, both included; none if the last is before the first."""
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def span_of_day(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the first and last moment of a day in UTC; it has 23 or 25 hours where the clock changes."""
    first = _in_utc(datetime.combine(day, time(), zone), FIRST_MOMENT)
    if day == date.max:
        return first, LAST_MOMENT
    return first, moved(_in_utc(datetime.combine(day + timedelta(days=1), time(), zone), LAST_MOMENT), -timedelta(microseconds=1))


def _in_utc(at: datetime, otherwise: datetime) -> datetime:
    with contextlib.suppress(OverflowError):
        return at.astimezone(UTC)
    return otherwise


def moved(at: datetime, by: timedelta) -> datetime:
    """Return a UTC time plus a span, which may be negative."""
    with contextlib.suppress(OverflowError):
        return at + by
    return LAST_MOMENT if by > timedelta() else FIRST_MOMENT


def of_milliseconds(since_epoch: int) -> datetime:
    """Return the UTC time of milliseconds since the start of 1970, as SQS writes times."""
    with contextlib.suppress(OverflowError):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=since_epoch)
    return LAST_MOMENT if since_epoch > 0 else FIRST_MOMENT


def shifted(day: date, days: int) -> date:
    """Return the day a number of days after a day, or before it if the number is negative."""
    with contextlib.suppress(OverflowError):
        return day + timedelta(days=days)
    return date.max if days > 0 else date.min
