"""Days: which there are between two, when one begins and ends by a clock, and steps that end where Python's calendar does.

Times of events are of the years 1900 to 2199, but days are also asked for by hand, and an older release took any year. Python holds the years
1 to 9999 and raises OverflowError beyond: here a step that would leave them ends at their first or last moment.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

__all__ = ["FIRST_MOMENT", "LAST_MOMENT", "days_between", "moved", "of_milliseconds", "shifted", "span_of_day"]

FIRST_MOMENT: Final = datetime.min.replace(tzinfo=UTC)
LAST_MOMENT: Final = datetime.max.replace(tzinfo=UTC)


def days_between(first: date, last: date) -> list[date]:
    """The days from the first to the last, both included; none where the last is before the first."""
    return [first + timedelta(days=each) for each in range((last - first).days + 1)]


def span_of_day(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """First and last moment of a day in UTC; it has 23 or 25 hours where the clock is changed."""
    first = _in_utc(datetime.combine(day, time(), zone), FIRST_MOMENT)
    if day == date.max:
        return first, LAST_MOMENT
    return first, moved(_in_utc(datetime.combine(day + timedelta(days=1), time(), zone), LAST_MOMENT), -timedelta(microseconds=1))


def _in_utc(at: datetime, otherwise: datetime) -> datetime:
    with contextlib.suppress(OverflowError):
        return at.astimezone(UTC)
    return otherwise


def moved(at: datetime, by: timedelta) -> datetime:
    """A UTC time and a span after it, or before it where that is negative."""
    with contextlib.suppress(OverflowError):
        return at + by
    return LAST_MOMENT if by > timedelta() else FIRST_MOMENT


def of_milliseconds(since_epoch: int) -> datetime:
    """The UTC time so many milliseconds after the first moment of 1970, as SQS writes times."""
    with contextlib.suppress(OverflowError):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=since_epoch)
    return LAST_MOMENT if since_epoch > 0 else FIRST_MOMENT


def shifted(day: date, days: int) -> date:
    """The day so many days after a day, or before it where the number is negative."""
    with contextlib.suppress(OverflowError):
        return day + timedelta(days=days)
    return date.max if days > 0 else date.min
