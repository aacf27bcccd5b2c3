"""The daily bounce categories (G13)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from statistics import median
from typing import Any

from mg_lakehouse_tests.oracle.events import Event, MessageKey
from mg_lakehouse_tests.oracle.jobs import category_name, ratio
from mg_lakehouse_tests.oracle.seeds import ATTEMPTED, Seeds

Row = dict[str, Any]
Place = tuple[str, str]
"""channel, mailbox_provider."""

_WEEK = 7
_MONTH = 28


def bounce_categories_daily(events: Iterable[Event], messages: Iterable[Row], seeds: Seeds) -> list[Row]:
    """Failures by day, channel, provider and category key, against the messages of the day, the week and the month."""
    provider: dict[MessageKey, str] = {}
    attempts: dict[tuple[Place, date], int] = defaultdict(int)
    sends: dict[tuple[Place, date], int] = defaultdict(int)
    decided: dict[tuple[Place, str, date], int] = defaultdict(int)
    for message in messages:
        place = message["channel"], message["mailbox_provider"]
        provider[message["request_id"], message["channel"], message["recipient_key"]] = message["mailbox_provider"]
        for day in message["attempt_dates"]:
            attempts[place, day] += 1
        for day in message["send_dates"]:
            sends[place, day] += 1
        if message["bounce_category_key"] is not None:
            decided[place, message["bounce_category_key"], message["bounced_at"].date()] += 1
    failures: dict[tuple[Place, str, date], list[Event]] = defaultdict(list)
    for event in events:
        if event.category is not None:
            failures[(event.channel, provider[event.message]), event.category, event.day].append(event)
    found = []
    for (place, key, day), group in failures.items():
        counted = attempts if seeds.counts_as(place[0], key) in ATTEMPTED else sends
        number = {other: count for (at, of, other), count in decided.items() if (at, of) == (place, key)}
        denominator = {other: count for (at, other), count in counted.items() if at == place}
        found.append(
            {
                "event_date": day,
                "channel": place[0],
                "mailbox_provider": place[1],
                "category_key": key,
                "category": category_name(place[0], key, group, seeds),
                "class": seeds.class_of(place[0], key),
                "counts_as": seeds.counts_as(place[0], key),
                "events": len(group),
                **_numbers(day, number, denominator),
            }
        )
    return found


def _numbers(day: date, messages: dict[date, int], denominators: dict[date, int]) -> Row:
    """Counts and rates of one day, given the messages and the denominators of every day of a category, channel and provider."""
    week = [day - timedelta(days=back) for back in range(_WEEK)]
    month = [day - timedelta(days=back) for back in range(1, _MONTH + 1)]
    messages_week = sum(messages.get(other, 0) for other in week)
    denominator_week = sum(denominators.get(other, 0) for other in week)
    rate = ratio(messages.get(day, 0), denominators.get(day, 0))
    # A day of the month without a message of the provider says nothing; one without this category says 0.
    usual = [messages.get(other, 0) / denominators[other] for other in month if denominators.get(other)]
    middle = median(usual) if usual else None
    return {
        "messages": messages.get(day, 0),
        "denominator": denominators.get(day, 0),
        "rate": rate,
        "messages_7d": messages_week,
        "denominator_7d": denominator_week,
        "rate_7d": ratio(messages_week, denominator_week),
        "rate_median_28d": middle,
        "rate_vs_median_28d": rate / middle if rate is not None and middle else None,
    }
