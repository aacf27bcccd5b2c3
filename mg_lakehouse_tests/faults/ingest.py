"""What the tests of the failing queue share: a guard at its deletes, and draining until nothing is left."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from mg_lakehouse.errors import TransientError
from mg_lakehouse.settings import Settings
from mg_lakehouse.stores.drain import DrainReport, drain
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse.stores.queue import EventQueue
from mg_lakehouse_tests.faults.invariants import column
from mg_lakehouse_tests.standins.sqs import Queue, SqsStandIn, VirtualClock


class Guard:
    """Stands at a queue's deletes and notes each message that is not in bronze's newest version when it is deleted."""

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
