"""The four invariants, looked at from outside: by what is in the queue and leaves it, in the tables and in their change feeds."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.bronze.event_feed import DrainReport, drain
from mg_lakehouse.errors import TransientError
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, silver_tables
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.location import Layer
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import EventQueue
from mg_lakehouse.testing.feed.feed import Feed
from mg_lakehouse_tests.standins.sqs import Queue, SqsStandIn, VirtualClock


def column(lake: Lake, layer: Layer, table: str, name: str) -> list[str]:
    """A column of a table's newest version; empty where there is no table."""
    handle = lake.open(layer, table)
    rows: list[Any] = [] if handle is None else handle.to_pyarrow_table(columns=[name])[name].to_pylist()
    return rows


def fed(lake: Lake, layer: Layer, table: str, name: str) -> list[str]:
    """The same column of all rows that the change feed ever showed."""
    handle = lake.open(layer, table)
    if handle is None or handle.version() == 0:
        return []
    feed = pl.DataFrame(handle.load_cdf(1, handle.version(), columns=[name, "_change_type"]).read_all())
    assert set(feed["_change_type"]) <= {"insert"}, f"{layer}/{table} was changed, not only appended to"
    return feed[name].to_list()


def in_bronze_once(lake: Lake, published: Collection[str]) -> None:
    """I2, in the end: each message is in bronze's newest version once, and in its change feed once."""
    assert sorted(column(lake, "bronze", "event_feed", "message_id")) == sorted(published)
    assert sorted(fed(lake, "bronze", "event_feed", "message_id")) == sorted(published)


class Guard:
    """I1, at each delete: stands at a queue's deletes and notes each message that is not in bronze's newest version when it is deleted."""

    def __init__(self, queue: Queue, lake: Lake) -> None:
        self._lake = lake
        self._log = Path(lake.uri_of("bronze", "event_feed")) / "_delta_log"
        self._commits: list[str] = []
        self._held: set[str] = set()
        self.lost: list[str] = []
        queue.before_delete = self.look

    def look(self, deleting: Sequence[str]) -> None:
        """Note which of these are not in bronze yet."""
        commits = sorted(path.name for path in self._log.glob("*.json"))
        if commits != self._commits:
            self._commits = commits
            self._held = set(column(self._lake, "bronze", "event_feed", "message_id"))
        self.lost += [message_id for message_id in deleting if message_id not in self._held]


def nothing_is_lost(lake: Lake, published: Collection[str], in_queue: Collection[str]) -> None:
    """I1: what left the queue is in bronze. Holds at every moment."""
    gone = set(published) - set(in_queue) - set(column(lake, "bronze", "event_feed", "message_id"))
    assert not gone, f"{len(gone)} messages are neither in the queue nor in bronze"


def nothing_is_twice(lake: Lake) -> None:
    """I2 and I3: no message id in bronze and no activity id in a silver table more than once. Holds at every moment."""
    keys: list[tuple[Layer, str, str]] = [("bronze", "event_feed", "message_id")]
    keys += [("silver", table, "activity_id") for table in silver_tables() if table != REJECTED_ITEMS]
    for layer, table, name in keys:
        rows = Counter(column(lake, layer, table, name))
        assert not rows or max(rows.values()) == 1, f"{layer}/{table} has rows twice"
        assert Counter(fed(lake, layer, table, name)) == rows, f"the change feed of {layer}/{table} differs from its rows"


def everything_arrived(lake: Lake, published: Collection[str], feed: Feed, sent: Sequence[int]) -> None:
    """I4, in the end: every message is in bronze, and every item is a row, a reject or a counted duplicate, as the feed's author knows.

    `sent` are the numbers of the bundles that were sent, each as often as it was.
    """
    truth = feed.truth
    in_bronze_once(lake, published)
    expected = {table: Counter(row.values["activity_id"] for row in rows) for table, rows in truth.by_table().items()}
    for table in silver_tables():
        if table == REJECTED_ITEMS:
            continue
        found = Counter(None if id_.startswith("sha256:") else id_ for id_ in column(lake, "silver", table, "activity_id"))
        assert found == expected.get(table, Counter()), f"silver/{table} differs from what was published"
    rejected = column(lake, "silver", REJECTED_ITEMS, "reason")
    # A reject has no id to know it again by: a bundle that was sent twice is rejected twice.
    assert Counter(rejected) == Counter(each.reason for bundle in sent for each in truth.rejected if each.bundle == bundle)
    summed = conservation(lake, above=0)
    assert summed.holds, summed
    unreadable = {each.bundle for each in truth.rejected if each.item is None}
    assert summed.items == sum(feed.bundles[bundle].items + (bundle in unreadable) for bundle in sent)
    assert summed.messages == len(published) == len(sent)


def drain_until_nothing_is_left(
    sqs: SqsStandIn, clock: VirtualClock, queue: EventQueue, lake: Lake, settings: Settings, *, rounds: int = 40
) -> list[DrainReport]:
    """Drain, let every message that is held come back, and drain again, until the queue holds nothing."""
    reports: list[DrainReport] = []
    for _ in range(rounds):
        with contextlib.suppress(TransientError):
            reports.append(drain(queue, lake, settings))
        if not sqs.queue.message_ids():
            return reports
        clock.advance(settings.visibility_seconds + 1)
    raise AssertionError(f"After {rounds} drains the queue still holds {len(sqs.queue.message_ids())} messages.")
