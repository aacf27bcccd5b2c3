"""Run heartbeats, in the storage of the Dagster instance: the daemon, commands and other hosts see from them that a run is alive.

A run beats every few seconds, from before its first step until after its last. An observer that finds a silent heart *asks*: it sets a mark in
the same row, and the next beat of a live run removes the mark. So a machine that slept, a database that was away or a clock that jumped ends
no run. All times come from the database's clock, because the clocks of two hosts differ.

:mod:`mg_lakehouse.dagster.liveness` decides what to do about a silent run.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

import dagster as dg
import sqlalchemy as sa

# Dagster's own API for this table (`set_cursor_values`) can neither list nor remove rows, and every run would leave one for ever.
from mg_lakehouse.dagster.internals import KeyValueStoreTable, SqlRunStorage

__all__ = ["BEATS_FROM_THE_START", "SILENT_BEATS", "RunHeartbeat", "RunHeartbeats", "keep_beating"]

BEATS_FROM_THE_START: Final = "mg_lakehouse/heartbeat"
"""Tag of our jobs' runs, which execute in their own process: a run that has started and has no heart never reached its first step."""

SILENT_BEATS: Final = 4
"""Missed beats before an observer asks."""

_PREFIX: Final = "mg_lakehouse.heart."
_columns: Any = KeyValueStoreTable.c


@dataclass(frozen=True, slots=True)
class RunHeartbeat:
    """The heart of a run.

    ``beat`` is the time of the last beat, ``None`` if there was none; ``every`` is the seconds between two. ``resting``: the process ended its
    work cleanly, and the run may go on in others. ``asked`` is when an observer asked without an answer since.
    """

    run_id: str
    every: float
    beat: datetime | None = None
    resting: bool = False
    asked: datetime | None = None

    def to_json(self) -> str:
        """Return the stored form."""
        times = {name: time.isoformat() for name, time in (("beat", self.beat), ("asked", self.asked)) if time is not None}
        return json.dumps({"every": self.every, "resting": self.resting, **times}, sort_keys=True)

    @classmethod
    def from_json(cls, run_id: str, text: str) -> Self:
        """Parse the stored form."""
        stored = json.loads(text)
        times = {name: datetime.fromisoformat(stored[name]) for name in ("beat", "asked") if name in stored}
        return cls(run_id, stored["every"], resting=stored["resting"], **times)


@dataclass(frozen=True, slots=True)
class RunHeartbeats:
    """The hearts of an instance's runs."""

    storage: SqlRunStorage

    @classmethod
    def of_instance(cls, instance: dg.DagsterInstance) -> Self | None:
        """Return an instance's hearts; ``None`` unless it keeps its runs in a SQL database: SQLite, Postgres, MySQL."""
        return cls(instance.run_storage) if isinstance(instance.run_storage, SqlRunStorage) else None

    def now(self) -> datetime:
        """Return the time by the database's clock."""
        with self.storage.connect() as connection:
            return _now(connection)

    def all(self) -> Mapping[str, RunHeartbeat]:
        """Return all hearts by run id."""
        with self.storage.connect() as connection:
            rows = connection.execute(
                sa.select(_columns.key, _columns.value).where(_columns.key.startswith(_PREFIX, autoescape=True))
            ).all()
        return {
            run_id: RunHeartbeat.from_json(run_id, value) for run_id, value in ((key.removeprefix(_PREFIX), value) for key, value in rows)
        }

    def start(self, run_id: str, every: float) -> bool:
        """Write the first beat of a run's process."""
        self.storage.set_cursor_values({_PREFIX + run_id: RunHeartbeat(run_id, every, beat=self.now()).to_json()})
        return True

    def beat(self, run_id: str, every: float, *, resting: bool = False) -> bool:
        """Write a beat, or the last one of the process. Return whether the heart still existed: that of an ended run is gone for good."""
        with self.storage.connect() as connection:
            heart = RunHeartbeat(run_id, every, beat=_now(connection), resting=resting)
            return _changed(connection, sa.update(KeyValueStoreTable).where(_columns.key == _PREFIX + run_id).values(value=heart.to_json()))

    def put(self, seen: RunHeartbeat | None, heart: RunHeartbeat) -> bool:
        """Write an observer's mark, unless the run beat since ``seen`` was read. Return whether it was written."""
        key = _PREFIX + heart.run_id
        with self.storage.connect() as connection:
            if seen is not None:
                same = (_columns.key == key, _columns.value == seen.to_json())
                return _changed(connection, sa.update(KeyValueStoreTable).where(*same).values(value=heart.to_json()))
            if connection.execute(sa.select(_columns.key).where(_columns.key == key)).first() is not None:
                return False
        # Another observer or the run itself may write in between: the later write wins, and a live run beats again.
        self.storage.set_cursor_values({key: heart.to_json()})
        return True

    def remove(self, seen: RunHeartbeat) -> bool:
        """Remove a heart, unless it beat since ``seen`` was read. Return whether it was removed: true for only one of two observers."""
        with self.storage.connect() as connection:
            return _changed(
                connection, sa.delete(KeyValueStoreTable).where(_columns.key == _PREFIX + seen.run_id, _columns.value == seen.to_json())
            )


def _changed(connection: Any, statement: Any) -> bool:
    return bool(connection.execute(statement).rowcount)


def _now(connection: Any) -> datetime:
    """Return the database's time: SQLite's has no zone and is in UTC, Postgres' has one."""
    now: datetime = connection.execute(sa.select(sa.func.now())).scalar_one()
    return now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)


@contextmanager
def keep_beating(instance: dg.DagsterInstance, run_id: str, every: float) -> Iterator[None]:
    """Beat for a run inside the block, in a thread. Nobody observes an ephemeral instance, so it gets no heartbeat."""
    hearts = None if instance.is_ephemeral else RunHeartbeats.of_instance(instance)
    if hearts is None:
        yield
        return
    stop = threading.Event()
    # Before the first step, and before Dagster gives it a slot in a pool.
    begun = _quietly(lambda: hearts.start(run_id, every)) or False
    thread = threading.Thread(target=_beat, args=(hearts, run_id, every, stop, begun), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _quietly(lambda: hearts.beat(run_id, every, resting=True))


def _beat(hearts: RunHeartbeats, run_id: str, every: float, stop: threading.Event, begun: bool) -> None:  # noqa: FBT001  passed by position
    while not stop.wait(every):
        if not begun:
            begun = _quietly(lambda: hearts.start(run_id, every)) or False
        elif _quietly(lambda: hearts.beat(run_id, every)) is False:
            return


def _quietly(write: Callable[[], bool]) -> bool | None:
    """Return the result of a write, ``None`` if it failed: a busy or absent database is no reason to fail a run, and the next beat comes soon."""
    try:
        return write()
    except Exception as error:  # noqa: BLE001  each driver has its own errors
        logging.getLogger(__name__).debug("A heartbeat was not written: %s", type(error).__name__)
        return None
