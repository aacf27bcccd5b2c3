"""Days: which there are between two, and when one begins and ends by a clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

__all__ = ["days_between", "span_of_day"]


def days_between(first: date, last: date) -> list[date]:
    """The days from the first to the last, both included; none where the last is before the first."""
    return [first + timedelta(days=each) for each in range((last - first).days + 1)]


def span_of_day(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """First and last moment of a day in UTC; it has 23 or 25 hours where the clock is changed."""
    first, following = (datetime.combine(each, time(), zone).astimezone(UTC) for each in (day, day + timedelta(days=1)))
    return first, following - timedelta(microseconds=1)
