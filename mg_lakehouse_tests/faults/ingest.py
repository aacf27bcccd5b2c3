"""What the tests of faults share: draining until nothing is left, and what must hold afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.errors import TransientError
from mg_lakehouse.settings import Settings
from mg_lakehouse.stores.drain import DrainReport, drain
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse.stores.queue import EventQueue
from mg_lakehouse_tests.standins.sqs import Queue, SqsStandIn, VirtualClock


class Guard:
    """Stands at a queue's deletes and notes each message that is not in bronze's newest version when it is deleted."""

    def __init__(self, queue: Queue, lake: Lake) -> None:
        self._table = Path(lake.root) / "bronze" / "event_feed"
        self._commits: list[str] = []
        self._held: set[str] = set()
        self.lost: list[str] = []
        queue.before_delete = self.look

    def look(self, deleting: Sequence[str]) -> None:
        """Note which of these are not in bronze yet."""
        commits = sorted(path.name for path in self._table.glob("_delta_log/*.json"))
        if commits != self._commits:
            self._commits = commits
            self._held = set(bronze_ids(self._table))
        self.lost += [message_id for message_id in deleting if message_id not in self._held]


def bronze_ids(table: Path) -> list[str]:
    """Message ids of bronze's newest version; none where there is no table."""
    if not DeltaTable.is_deltatable(str(table)):
        return []
    ids: list[str] = pl.read_delta(str(table), columns=["message_id"])["message_id"].to_list()
    return ids


def changed_ids(table: Path) -> list[str]:
    """Message ids of every row that the change feed shows."""
    feed = pl.DataFrame(DeltaTable(str(table)).load_cdf(0).read_all())
    assert feed["_change_type"].unique().to_list() == ["insert"]
    ids: list[str] = feed["message_id"].to_list()
    return ids


def assert_exactly_once(lake: Lake, published: Sequence[str]) -> None:
    """Each message is in bronze's snapshot once, and in its change feed once."""
    table = Path(lake.root) / "bronze" / "event_feed"
    assert sorted(bronze_ids(table)) == sorted(published)
    assert sorted(changed_ids(table)) == sorted(published)


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
