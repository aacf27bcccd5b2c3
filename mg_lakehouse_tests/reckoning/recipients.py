"""The funnel by day, mailbox provider and domain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import sqrt
from typing import Any

from mg_lakehouse_tests.reckoning.jobs import message_counts, message_rates
from mg_lakehouse_tests.reckoning.seeds import Seeds

Row = dict[str, Any]

_Z = 1.959963984540054
"""Of a standard normal, one in forty is above it."""


def domain_days(messages: Iterable[Row], seeds: Seeds) -> list[Row]:
    """The counts of each job on the days of its messages' first events (G30)."""
    return _counted(messages, ("request_id", "event_date", "channel", "mailbox_provider", "recipient_domain"), seeds)


def daily(messages: Iterable[Row], place: Sequence[str], seeds: Seeds) -> list[Row]:
    """Counts, rates and the level of complaints by day, channel and the columns of ``place``."""
    rows = _counted(messages, ("event_date", "channel", *place), seeds)
    return [row | message_rates(row) | _complaints(row["channel"], row["complainers_fbl"], row["accepted_fbl"]) for row in rows]


def _counted(messages: Iterable[Row], key: Sequence[str], seeds: Seeds) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for message in messages:
        dated = message | {"event_date": message["first_event_at"].date()}
        groups[tuple(dated[name] for name in key)].append(message)
    return [dict(zip(key, values, strict=True)) | message_counts(group, seeds) for values, group in groups.items()]


def _complaints(channel: str, complainers: int, accepted: int) -> Row:
    low = wilson_low(complainers, accepted)
    if low is None or channel != "email":
        level = None
    elif accepted < 200:
        level = "too_few"
    else:
        level = "act" if low >= 0.003 else "watch" if low >= 0.001 else "none"
    return {"complaint_rate_low": low, "complaint_level": level}


def wilson_low(successes: int, trials: int) -> float | None:
    """Lower end of Wilson's interval: the least share p of which ``successes`` are within z standard deviations.

    The smaller root of ``(s/n - p)^2 = z^2 p (1 - p) / n``.
    """
    if trials == 0:
        return None
    share = Fraction(successes, trials)
    a, b, c = 1 + _Z**2 / trials, -(2 * float(share) + _Z**2 / trials), float(share) ** 2
    return max(0.0, (-b - sqrt(max(0.0, b * b - 4 * a * c))) / (2 * a))
