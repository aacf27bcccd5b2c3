"""A realistic event feed, made up: bundles as MessageGears sends them, and the truth about them.

The same plan gives the same feed, byte for byte. Who does what is decided in
:mod:`mg_lakehouse.testing.feed.behaviour`, how it is written in :mod:`mg_lakehouse.testing.feed.writing`; here the events are put
into bundles, and what a feed does to its events is done to them: delays, duplicates, broken items.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from mg_lakehouse.testing.feed.behaviour import Happening, context_request, inbound_sms, job_errors, message, mobile_app_open
from mg_lakehouse.testing.feed.breaking import BROKEN_BODIES, BROKEN_ITEMS, break_item, broken_body
from mg_lakehouse.testing.feed.jobs import make_jobs
from mg_lakehouse.testing.feed.people import Person, person
from mg_lakehouse.testing.feed.truth import Rejected, TrueRow, Truth
from mg_lakehouse.testing.feed.wire import Version
from mg_lakehouse.testing.feed.writing import ODDITIES, Item, Style, write_item

__all__ = ["Bundle", "Feed", "FeedPlan", "generate"]

_MAX_ITEMS: Final = 120
_BODY_BYTES: Final = 62 * 1024
_LARGE_BODY_BYTES: Final = 110 * 1024
_CAST: Final = 16
_MAX_JOBS: Final = 40


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """What to generate.

    ``events`` is the number of items written, ``duplicates`` and ``malformed`` (broken, or without a usable
    timestamp) among them, both as shares of it. Events lie between ``start`` and ``end`` (aware; jobs may reach
    back to ``start``). ``odd`` is the share of valid items that are written in an unusual way. ``jobs`` left out
    is 16, of which each has something of its own, or fewer in a feed too small for them.
    """

    seed: int = 1
    events: int = 20_000
    jobs: int | None = None
    start: datetime = datetime(2026, 2, 8, 12, tzinfo=UTC)
    end: datetime = datetime(2026, 3, 20, 12, tzinfo=UTC)
    duplicates: float = 0.02
    malformed: float = 0.005
    odd: float = 0.12

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or self.start >= self.end:
            raise ValueError("A FeedPlan needs a start before its end, both with a time zone.")
        if self.events < 0 or min(self.duplicates, self.malformed, self.odd) < 0 or self.duplicates + self.malformed > 0.9:
            raise ValueError(
                "A FeedPlan needs events of 0 or more, and shares from 0 whose sum of duplicates and malformed is at most 0.9."
            )

    @property
    def job_count(self) -> int:
        """Number of jobs of the feed."""
        return self.jobs if self.jobs is not None else max(2, min(_CAST, self.events // 60))


@dataclass(frozen=True, slots=True)
class Bundle:
    """One message of the queue: its body, and the number of items written into it."""

    body: str
    items: int


@dataclass(frozen=True, slots=True)
class Feed:
    """Bundles in sending order and what they must become."""

    bundles: list[Bundle]
    truth: Truth


def generate(plan: FeedPlan) -> Feed:
    """Generate the feed of a plan."""
    rng = Random(plan.seed)
    duplicates = round(plan.events * plan.duplicates)
    happenings = _in_sending_order(_happenings(plan, plan.events - duplicates, rng), rng)
    writer = _Writer(plan, happenings, rng, duplicates=duplicates, broken=round(plan.events * plan.malformed))
    return writer.write()


def _happenings(plan: FeedPlan, count: int, rng: Random) -> list[Happening]:
    """``count`` events, none after the plan's end."""
    start, end = plan.start.astimezone(UTC), plan.end.astimezone(UTC)
    jobs = make_jobs(min(plan.job_count, _MAX_JOBS), start=start, end=end, rng=rng)
    people = [person(index, rng) for index in range(max(400, count // 4))]
    found: list[Happening] = [event for job in jobs for event in job_errors(job, rng) if event.at <= end]
    found += _of_no_job(people, start, end, count=count // 40, rng=rng)
    weights = sum(job.weight for job in jobs)
    budget = max(0, count - len(found))
    for job in jobs:
        target = len(found) + round(budget * job.weight / weights) if weights else 0
        for index in rng.sample(range(len(people)), len(people)):
            if len(found) >= target:
                break
            found += [event for event in message(job, people[index], rng) if event.at <= end]
    del found[count:]
    # Jobs near the end lose the events that are still to come.
    found += [context_request(_moment(start, end, rng), rng) for _ in range(count - len(found))]
    return found


def _of_no_job(people: list[Person], start: datetime, end: datetime, *, count: int, rng: Random) -> Iterator[Happening]:
    for _ in range(count):
        at, someone = _moment(start, end, rng), rng.choice(people)
        luck = rng.random()
        if luck < 0.6:
            yield context_request(at, rng)
        elif luck < 0.8:
            yield inbound_sms(at, someone, rng)
        else:
            yield mobile_app_open(at, someone)


def _moment(start: datetime, end: datetime, rng: Random) -> datetime:
    return start + timedelta(milliseconds=rng.randrange(max(1, int((end - start) / timedelta(milliseconds=1)))))


def _in_sending_order(happenings: list[Happening], rng: Random) -> list[Happening]:
    """By time of sending: most events a minute or two after they occurred, one in a hundred up to six hours."""
    minute, hours = 90.0, 6 * 3600.0
    lag = [timedelta(seconds=rng.random() * (hours if rng.random() < 0.01 else minute)) for _ in happenings]
    order = sorted(range(len(happenings)), key=lambda index: happenings[index].at + lag[index])
    return [happenings[index] for index in order]


@dataclass(slots=True)
class _Writer:
    """Puts events into bundles. ``duplicates`` and ``broken`` are still to be written."""

    plan: FeedPlan
    happenings: list[Happening]
    rng: Random
    duplicates: int
    broken: int
    bundles: list[Bundle] = field(default_factory=list)
    truth: Truth = field(default_factory=Truth)
    _next: int = 0
    # Written items by how they are written: a duplicate is sent again as it was, in a bundle of the same kind.
    _sent: dict[tuple[Version, str], list[Item]] = field(default_factory=dict)
    _without_id: set[str] = field(default_factory=set)
    _oddities: Iterator[str] = field(default_factory=lambda: itertools.cycle(ODDITIES))
    _kinds: Iterator[str] = field(default_factory=lambda: itertools.cycle(BROKEN_ITEMS))
    _bodies: Iterator[str] = field(default_factory=lambda: itertools.cycle(BROKEN_BODIES))

    def write(self) -> Feed:
        while self.truth.items < self.plan.events:
            self._write_bundle()
            if self.rng.random() < min(0.5, 10 * self.plan.malformed):
                self._write_broken_body()
        return Feed(self.bundles, self.truth)

    def _style(self) -> Style:
        rng = self.rng
        version: Version = rng.choices(("none", "3.0", "3.1", "3.2"), (20, 6, 52, 22))[0]
        prefix = "mg:" if version in ("3.1", "3.2") and rng.random() < 0.08 else ""
        if self._next >= len(self.happenings) and not self._sent.get((version, prefix)) and self._sent:
            # Only duplicates are left: take a kind of bundle that there are items of.
            version, prefix = max(self._sent, key=lambda key: len(self._sent[key]))
        return Style(version, prefix, rng.choice(("", "\n", "\n    ")))

    def _write_bundle(self) -> None:
        rng, style = self.rng, self._style()
        size = min(rng.choice((1, 3, 20, 60, _MAX_ITEMS)) if rng.random() < 0.4 else rng.randrange(1, _MAX_ITEMS + 1), self._left())
        limit = _LARGE_BODY_BYTES if rng.random() < 0.01 else _BODY_BYTES
        written: list[str] = []
        length, whole, truncated = 0, True, False
        while len(written) < size and not truncated:
            xml, kind = self._write_one(style, len(written))
            written.append(xml)
            # Bytes, not characters: what is not ASCII takes up to four.
            length += len(xml.encode()) + len(style.gap)
            whole, truncated = whole and kind is None, kind == "truncated"
            if length > limit - 2_500:
                break
        self.bundles.append(Bundle(_envelope(written, style, rng, whole=whole, truncated=truncated), len(written)))

    def _left(self) -> int:
        return self.plan.events - self.truth.items

    def _write_one(self, style: Style, position: int) -> tuple[str, str | None]:
        """Write the next item: a duplicate, a broken one (then with its kind) or a good one."""
        left, rng = self._left(), self.rng
        sent = self._sent.setdefault((style.version, style.prefix), [])
        exhausted = self._next >= len(self.happenings)
        if sent and (exhausted or rng.random() * left < self.duplicates):
            self.truth.items += 1
            self.truth.duplicates += 1
            self.duplicates -= 1
            return rng.choice(sent).xml, None
        if exhausted:
            # A feed of next to nothing may have no item to duplicate: then it gets one more of its own.
            self.happenings.append(context_request(self.plan.end.astimezone(UTC), rng))
        happening = self.happenings[self._next]
        self._next += 1
        if rng.random() * left < self.broken:
            return self._write_broken(happening, style, position)
        item = self._unique(happening, style)
        self.truth.items += 1
        self.truth.rows.append(TrueRow(item.table, item.row, len(self.bundles), position, item.xml))
        sent.append(item)
        return item.xml, None

    def _unique(self, happening: Happening, style: Style) -> Item:
        """A valid item. Two without an activity id and of the same content would be one event: the second is made to differ."""
        while True:
            oddity = next(self._oddities) if self.rng.random() < self.plan.odd else None
            item = write_item(happening, style, self.rng, activity_id=_uuid(self.rng), oddity=oddity)
            if item.row["activity_id"] is not None:
                return item
            content = repr((item.table, sorted(item.row.items(), key=lambda pair: pair[0])))
            if content not in self._without_id:
                self._without_id.add(content)
                return item
            happening.at += timedelta(milliseconds=1)

    def _write_broken(self, happening: Happening, style: Style, position: int) -> tuple[str, str]:
        kind = next(self._kinds)
        item = write_item(happening, style, self.rng, activity_id=_uuid(self.rng))
        self.broken -= 1
        self.truth.items += 1
        self.truth.rejected.append(Rejected(BROKEN_ITEMS[kind][0], item.element, len(self.bundles), position))
        return break_item(item.xml, kind, self.rng), kind

    def _write_broken_body(self) -> None:
        reason, element, body = broken_body(next(self._bodies))
        self.truth.rejected.append(Rejected(reason, element, len(self.bundles), None))
        self.bundles.append(Bundle(body, 0))


def _uuid(rng: Random) -> str:
    token = f"{rng.getrandbits(128):032x}"
    return f"{token[:8]}-{token[8:12]}-{token[12:16]}-{token[16:20]}-{token[20:]}"


_GHOST: Final = "<!-- <OpenActivity><ActivityId>ghost</ActivityId><Timestamp>2026-01-01T00:00:00Z</Timestamp></OpenActivity> -->"


def _envelope(written: list[str], style: Style, rng: Random, *, whole: bool, truncated: bool) -> str:
    """The body around the items. Only a body that parses as a whole may hold a commented-out item."""
    namespace = ""
    if style.version != "none":
        namespace = f' xmlns{":" if style.prefix else ""}{style.prefix.rstrip(":")}="http://messagegears.com/{style.version}/webService"'
    declaration = '<?xml version="1.0" encoding="UTF-8"?>\n' if rng.random() < 0.15 else ""
    comment = rng.choice(("<!-- bundle -->", _GHOST if whole else "<!-- again -->")) if rng.random() < 0.06 else ""
    body = f"{declaration}<{style.prefix}ActivityItems{namespace}>{comment}{style.gap}{style.gap.join(written)}"
    return body if truncated else f"{body}{style.gap}</{style.prefix}ActivityItems>"
