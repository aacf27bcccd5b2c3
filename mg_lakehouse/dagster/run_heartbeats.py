"""The heartbeats of runs, in the storage of the Dagster instance: how a daemon, a command and other hosts know that a run lives.

A run writes every few seconds, from before its first step to behind its last. An observer that finds a silent heart *asks*, by a mark in the
same row: a live run answers by its next beat, which takes the mark away. So a machine that slept, a database that was away and a clock
that jumped end no run. All times are the database's own clock, for those of two hosts differ.

What became of a run that is silent is :mod:`mg_lakehouse.dagster.liveness`' business.
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

# Dagster's own way to this table (`set_cursor_values`) can neither list nor remove, and every run would leave a row for ever.
from mg_lakehouse.dagster.internals import KeyValueStoreTable, SqlRunStorage

__all__ = ["BEATS_FROM_THE_START", "SILENT_BEATS", "Heart", "Hearts", "beating"]

BEATS_FROM_THE_START: Final = "mg_lakehouse/heartbeat"
"""Tag of the runs of our jobs, whose executor is in their process: one that has started and has no heart never came to its first step."""

SILENT_BEATS: Final = 4
"""Beats that may fail to come before a heart is asked."""

_PREFIX: Final = "mg_lakehouse.heart."
_columns: Any = KeyValueStoreTable.c


@dataclass(frozen=True, slots=True)
class Heart:
    """What is known of a run's heart.

    ``beat`` is the last one, ``None`` where there was none, ``every`` the seconds between two. ``resting`` says that the process ended its work
    in peace; the run may go on in others. ``asked`` is when an observer asked, and nobody answered since.
    """

    run_id: str
    every: float
    beat: datetime | None = None
    resting: bool = False
    asked: datetime | None = None

    def to_json(self) -> str:
        """As it is stored."""
        times = {name: time.isoformat() for name, time in (("beat", self.beat), ("asked", self.asked)) if time is not None}
        return json.dumps({"every": self.every, "resting": self.resting, **times}, sort_keys=True)

    @classmethod
    def from_json(cls, run_id: str, text: str) -> Self:
        """As it was stored."""
        found = json.loads(text)
        times = {name: datetime.fromisoformat(found[name]) for name in ("beat", "asked") if name in found}
        return cls(run_id, found["every"], resting=found["resting"], **times)


@dataclass(frozen=True, slots=True)
class Hearts:
    """The hearts of an instance's runs."""

    storage: SqlRunStorage

    @classmethod
    def of(cls, instance: dg.DagsterInstance) -> Self | None:
        """Those of an instance, where it keeps its runs in a database of ours to write: SQLite, Postgres, MySQL."""
        return cls(instance.run_storage) if isinstance(instance.run_storage, SqlRunStorage) else None

    def now(self) -> datetime:
        """The time, by the database's clock."""
        with self.storage.connect() as connection:
            return _now(connection)

    def all(self) -> Mapping[str, Heart]:
        """All hearts, by the id of their run."""
        with self.storage.connect() as connection:
            rows = connection.execute(
                sa.select(_columns.key, _columns.value).where(_columns.key.startswith(_PREFIX, autoescape=True))
            ).all()
        return {run_id: Heart.from_json(run_id, value) for run_id, value in ((key.removeprefix(_PREFIX), value) for key, value in rows)}

    def start(self, run_id: str, every: float) -> bool:
        """The first beat of a process of a run."""
        self.storage.set_cursor_values({_PREFIX + run_id: Heart(run_id, every, beat=self.now()).to_json()})
        return True

    def beat(self, run_id: str, every: float, *, resting: bool = False) -> bool:
        """A beat, or the last one of the process. Whether there still was a heart: that of a run that was ended is gone, and stays so."""
        with self.storage.connect() as connection:
            heart = Heart(run_id, every, beat=_now(connection), resting=resting)
            return _changed(connection, sa.update(KeyValueStoreTable).where(_columns.key == _PREFIX + run_id).values(value=heart.to_json()))

    def put(self, seen: Heart | None, heart: Heart) -> bool:
        """Write what an observer has to say, unless the run beat since it was seen. Whether it was written."""
        key = _PREFIX + heart.run_id
        with self.storage.connect() as connection:
            if seen is not None:
                same = (_columns.key == key, _columns.value == seen.to_json())
                return _changed(connection, sa.update(KeyValueStoreTable).where(*same).values(value=heart.to_json()))
            if connection.execute(sa.select(_columns.key).where(_columns.key == key)).first() is not None:
                return False
        # Two observers, or the run itself, may write between: the later one stands, and a run beats again.
        self.storage.set_cursor_values({key: heart.to_json()})
        return True

    def remove(self, seen: Heart) -> bool:
        """Remove a heart, unless it beat since it was seen. Whether it was removed: of two observers one is told so."""
        with self.storage.connect() as connection:
            return _changed(
                connection, sa.delete(KeyValueStoreTable).where(_columns.key == _PREFIX + seen.run_id, _columns.value == seen.to_json())
            )


def _changed(connection: Any, statement: Any) -> bool:
    return bool(connection.execute(statement).rowcount)


def _now(connection: Any) -> datetime:
    """SQLite's has no zone and is in UTC; Postgres' has one."""
    now: datetime = connection.execute(sa.select(sa.func.now())).scalar_one()
    return now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)


@contextmanager
def beating(instance: dg.DagsterInstance, run_id: str, every: float) -> Iterator[None]:
    """Have the heart of a run beat within, in a thread of its own. An instance that is gone with this process has nobody who looks."""
    hearts = None if instance.is_ephemeral else Hearts.of(instance)
    if hearts is None:
        yield
        return
    stop = threading.Event()
    # Before the first step, and before Dagster gives that a place in a pool.
    begun = _quietly(lambda: hearts.start(run_id, every)) or False
    thread = threading.Thread(target=_beat, args=(hearts, run_id, every, stop, begun), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _quietly(lambda: hearts.beat(run_id, every, resting=True))


def _beat(hearts: Hearts, run_id: str, every: float, stop: threading.Event, begun: bool) -> None:  # noqa: FBT001  handed over by position
    while not stop.wait(every):
        if not begun:
            begun = _quietly(lambda: hearts.start(run_id, every)) or False
        elif _quietly(lambda: hearts.beat(run_id, every)) is False:
            return


def _quietly(write: Callable[[], bool]) -> bool | None:
    """What a write gave, ``None`` where it failed: a database that is busy or away is no reason to fail a run, whose next beat is near."""
    try:
        return write()
    except Exception as error:  # noqa: BLE001  each driver has errors of its own
        logging.getLogger(__name__).debug("A heartbeat was not written: %s", type(error).__name__)
        return None
