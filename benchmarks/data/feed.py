"""The feed of the benchmarks: what the demo's jobs lead to, ten events to a message.

Two mixes. ``clean`` is what a machine writes that sends what is documented: every item is known and well-formed, one in fifty is
sent twice. ``demo`` is the demo's own feed, whose shares of oddities (one item in eight), broken items and broken bodies are those of
a test; a fast path that gives up on a message for one odd item has little to do there. Both come of a seed and are kept as Parquet.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final, Literal

import polars as pl

from mg_lakehouse.events.catalogue import event_of_element
from mg_lakehouse.testing.feed.behaviour import Happening, context_request, job_errors, message
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.feed.jobs import make_jobs
from mg_lakehouse.testing.feed.people import person
from mg_lakehouse.testing.feed.writing import Style, write_item

__all__ = ["Mix", "bodies", "earlier", "fresh_ids"]

Mix = Literal["clean", "demo"]

TO_A_MESSAGE: Final = 10
_START: Final = datetime(2026, 2, 8, 12, tzinfo=UTC)
_END: Final = datetime(2026, 3, 20, 12, tzinfo=UTC)
_SPAN: Final = timedelta(days=(_END - _START).days + 1)
_DATE: Final = r"\d{4}-\d{2}-\d{2}T"
_DUPLICATES: Final = 0.02
_JOBS: Final = 16
_VERSIONS: Final = ("none", "3.1", "3.2")
_SHARES: Final = (20, 58, 22)


def bodies(cache: Path, *, events: int, mix: Mix = "clean", seed: int = 1) -> pl.DataFrame:
    """Bodies of a feed in sending order: columns ``body`` (text) and ``items`` (how many were written into it).

    Generating takes about a minute for 200,000 events, so the feed is kept in the folder ``cache``.
    """
    file = cache / f"feed-{mix}-{events}-{seed}.parquet"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _generate(events, mix, seed).write_parquet(file)
    return pl.read_parquet(file)


def fresh_ids(feed: pl.DataFrame, copy: int) -> pl.DataFrame:
    """The feed with other activity ids: what was sent twice still is, and nothing is what another copy has.

    The last six hexadecimal digits become the copy's number; the other 26 stay random.
    """
    return feed.with_columns(pl.col("body").str.replace_all(r"ActivityId>([0-9a-f-]{30})[0-9a-f]{6}<", f"ActivityId>${{1}}{copy:06x}<"))


def earlier(feed: pl.DataFrame, copy: int) -> pl.DataFrame:
    """The feed as it may have been before: a copy with ids of its own, and all dates as many times 41 days, the feed's span, before.

    What comes at another time happened at another time, so copies that all had the same times would have each batch looked for among all
    others: of ten million events, flattening took 131 s so.
    """
    written = feed["body"].str.extract_all(_DATE).explode().unique().drop_nulls().sort().to_list()
    moved = [(date.fromisoformat(each[:-1]) - copy * _SPAN).isoformat() + "T" for each in written]
    return fresh_ids(feed, copy).with_columns(pl.col("body").str.replace_many(written, moved))


def _generate(events: int, mix: Mix, seed: int) -> pl.DataFrame:
    if mix == "demo":
        feed = generate(FeedPlan(seed=seed, events=events, start=_START, end=_END))
        return pl.DataFrame({"body": [bundle.body for bundle in feed.bundles], "items": [bundle.items for bundle in feed.bundles]})
    rng = Random(seed)
    written = list(_bundles(_happenings(round(events * (1 - _DUPLICATES)), rng), events, rng))
    return pl.DataFrame({"body": [body for body, _ in written], "items": [items for _, items in written]})


def _happenings(count: int, rng: Random) -> list[Happening]:
    """``count`` events of known kinds in the order of their times."""
    jobs = make_jobs(_JOBS, start=_START, end=_END, rng=rng)
    people = [person(index, rng) for index in range(max(400, count // 4))]
    found = [event for job in jobs for event in job_errors(job, rng)]
    found += [context_request(_START + (_END - _START) * rng.random(), rng) for _ in range(count // 40)]
    weights = sum(job.weight for job in jobs)
    budget = count - len(found)
    for job in jobs:
        target = len(found) + round(budget * job.weight / weights)
        while len(found) < target:
            found += (each for each in message(job, rng.choice(people), rng) if event_of_element(each.element) and each.at <= _END)
    while len(found) < count:
        found.append(context_request(_START + (_END - _START) * rng.random(), rng))
    return sorted(found[:count], key=lambda happening: happening.at)


def _bundles(happenings: list[Happening], events: int, rng: Random) -> Iterator[tuple[str, int]]:
    """Bundles of ten, the last one maybe smaller; items that are sent again stand in a bundle of their kind."""
    sent: dict[Style, list[str]] = {}
    coming = iter(happenings)
    again = events - len(happenings)
    left = events
    while left:
        style = _style(rng)
        before = sent.setdefault(style, [])
        items: list[str] = []
        while len(items) < min(TO_A_MESSAGE, left):
            if before and again and (rng.random() < _DUPLICATES or left - len(items) <= again):
                items.append(rng.choice(before))
                again -= 1
                continue
            happening = next(coming, None) or context_request(_END, rng)
            items.append(write_item(happening, style, rng, activity_id=_uuid(rng)).xml)
        before += items
        left -= len(items)
        yield _envelope(items, style), len(items)


def _style(rng: Random) -> Style:
    version = rng.choices(_VERSIONS, _SHARES)[0]
    prefix = "mg:" if version != "none" and rng.random() < 0.08 else ""
    return Style(version, prefix, rng.choice(("", "\n")))  # type: ignore[arg-type]  # a literal, chosen


def _envelope(items: list[str], style: Style) -> str:
    colon = ":" if style.prefix else ""
    namespace = (
        "" if style.version == "none" else f' xmlns{colon}{style.prefix.rstrip(":")}="http://messagegears.com/{style.version}/webService"'
    )
    return f"<{style.prefix}ActivityItems{namespace}>{style.gap}{style.gap.join(items)}{style.gap}</{style.prefix}ActivityItems>"


def _uuid(rng: Random) -> str:
    token = f"{rng.getrandbits(128):032x}"
    return f"{token[:8]}-{token[8:12]}-{token[12:16]}-{token[16:20]}-{token[20:]}"
