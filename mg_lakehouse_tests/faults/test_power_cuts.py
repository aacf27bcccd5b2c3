"""A power cut at each commit point, of which what was not synced is lost: nothing that left the queue is, and nothing is claimed that cannot be proved."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from mg_lakehouse.audit.hourly_balance import balance_hours_of_sources
from mg_lakehouse.bronze.event_feed import drain
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.maintenance.repair import planned_repair, repair
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.id_files import FOLDER
from mg_lakehouse.silver.rebuild import rebuild
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.sources.sqs import EventQueue
from mg_lakehouse.testing.feed.feed import Feed, FeedPlan, generate
from mg_lakehouse.testing.sqs import SqsEmulator, VirtualClock
from mg_lakehouse_tests.cli.commands import environment
from mg_lakehouse_tests.faults.consumer import KILLED, VISIBILITY, Crash
from mg_lakehouse_tests.faults.invariants import column, everything_arrived, in_bronze_once, nothing_is_twice
from mg_lakehouse_tests.faults.power import Left, OnDisk, cut, watched, watcher

pytestmark = pytest.mark.slow

END: Final = datetime(2026, 3, 20, 12, tzinfo=UTC)

POINTS: Final = [
    # In bronze, between bronze and the queue, in silver, and in the table that has the progress.
    Crash(Failpoint.COMMIT_DONE, 1, "bronze"),
    Crash(Failpoint.DELETED_SOME, 2),
    Crash(Failpoint.COMMIT_DONE, 20, "silver"),
    Crash(Failpoint.COMMIT_DONE, 2, "rejected_items"),
]
MORE_POINTS: Final = [
    Crash(Failpoint.COMMIT_DECIDED, 1, "bronze"),
    Crash(Failpoint.COMMIT_DONE, 2, "bronze"),
    Crash(Failpoint.BATCH_COMMITTED, 2),
    Crash(Failpoint.SILVER_READ, 1),
    Crash(Failpoint.IDS_WRITTEN, 3),
    Crash(Failpoint.COMMIT_DONE, 2, "silver"),
    Crash(Failpoint.COMMIT_DONE, 1, "rejected_items"),
]

_CONSUMER: Final = """
import json, sys
from mg_lakehouse_tests.faults import consumer
from mg_lakehouse.lake.failpoints import Failpoint
root, environment, crash = json.loads(sys.argv[1])
crash = crash and consumer.Crash(Failpoint(crash["point"]), crash["nth"], crash["about"])
consumer._consume(root, environment, crash)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = watcher(tmp_path_factory.mktemp("watcher"))
    if found is None:
        pytest.skip("there is no C compiler to make what watches syncs")
    return found


@pytest.fixture
def sqs() -> Iterator[SqsEmulator]:
    with SqsEmulator(clock=VirtualClock(), seed=1) as emulator:
        yield emulator


class PowerGuard:
    """Stands at a queue's deletes: notes each message that would be gone if the lights went out now, with all that was not synced."""

    def __init__(self, sqs: SqsEmulator, lake: Path, log: Path, folder: Path) -> None:
        self._lake, self._log, self._folder = lake, log, folder
        self._looks = 0
        self.lost: list[str] = []
        sqs.queue.before_delete = self.look

    def look(self, deleting: Sequence[str]) -> None:
        self._looks += 1
        found = Lake(str(cut(self._lake, self._log, self._folder / f"at-delete-{self._looks}", "nothing")))
        held = set(column(found, "bronze", "event_feed", "message_id"))
        self.lost += [message_id for message_id in deleting if message_id not in held]


def feed_of(sqs: SqsEmulator) -> tuple[Feed, list[int], set[str]]:
    feed = generate(FeedPlan(seed=5, events=900, start=END - timedelta(days=3), end=END))
    numbers = [*range(len(feed.bundles)), 0, 1, 2]
    return feed, numbers, set(sqs.publish([feed.bundles[number].body for number in numbers]))


def consume(library: Path, sqs: SqsEmulator, lake: Path, log: Path, *, crash: Crash | None = None) -> int:
    """A consumer in a process of its own that dies at a point; its exit code."""
    given = json.dumps([str(lake), dict(sqs.environment), None if crash is None else asdict(crash)])
    command = [sys.executable, "-c", _CONSUMER, given]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        env=environment(log.parent, **watched(library, log)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, KILLED), done.stderr
    return done.returncode


def release(sqs: SqsEmulator) -> None:
    assert isinstance(sqs.clock, VirtualClock)
    sqs.clock.advance(VISIBILITY + 1)


def put_right(lake: Lake) -> None:
    """What an operator does, by the sentences: remove a damaged table of silver, repair bronze, and make anew from it what was removed."""
    removed = []
    for table in silver_tables():
        if (said := refusal(lambda table=table: lake.open("silver", table))) is not None:  # type: ignore[misc]
            assert f"remove the folder {lake.uri_of('silver', table)}" in said
            shutil.rmtree(lake.uri_of("silver", table))
            removed.append(table)
    repair(lake, "event_feed")
    assert not planned_repair(lake, "event_feed").anything
    days = [day.name.partition("=")[2] for day in Path(lake.root).glob("bronze/*/received_date=*")]
    if removed:
        list(rebuild(lake, [datetime.fromisoformat(day).date() for day in days], tables=removed))


def go_on(lake: Lake, sqs: SqsEmulator) -> int:
    """Drain and flatten what is left, and put right what is refused; how often it was."""
    settings = Settings(queue_url=sqs.queue_url, wait_seconds=0, receivers=1, batch_messages=5, visibility_seconds=VISIBILITY)

    def work() -> None:
        drain(EventQueue(sqs.client(), sqs.queue_url), lake, settings)
        flatten_new(lake)

    for refused in range(4):
        release(sqs)
        if (said := refusal(work)) is None:
            return refused
        assert re.search(r" is damaged: (its file \S+ is \w+|it ends with)", said), said
        with suppress(PermanentError):
            assert not balance_hours_of_sources(lake, END - timedelta(days=9), datetime.now(UTC)).balances, "it claims what it cannot know"
        put_right(lake)
    raise AssertionError("it cannot be put right")


def refusal(work: Callable[[], object]) -> str | None:
    """The sentence with which something is refused, ``None`` where it is not."""
    try:
        work()
    except PermanentError as error:
        return str(error)
    return None


def is_whole(lake: Lake, published: Collection[str], feed: Feed, sent: Sequence[int], *, accounts: bool) -> None:
    in_bronze_once(lake, published)
    nothing_is_twice_but_in_feeds(lake) if not accounts else nothing_is_twice(lake)
    if accounts:
        everything_arrived(lake, published, feed, sent)
    found = balance_hours_of_sources(lake, datetime.now(UTC) - timedelta(hours=2), datetime.now(UTC))
    assert found.balances, found
    days = {datetime.now(UTC).date(), (datetime.now(UTC) - timedelta(days=1)).date()}
    assert not any(each.changed for each in rebuild(lake, days, dry_run=True))


def nothing_is_twice_but_in_feeds(lake: Lake) -> None:
    for table in silver_tables():
        if table != "rejected_items":
            ids = column(lake, "silver", table, "activity_id")
            assert len(ids) == len(set(ids)), table


@pytest.mark.parametrize("left", ["names", *(pytest.param(left, marks=pytest.mark.faults) for left in ("nothing", "halves", "anything"))])
@pytest.mark.parametrize("crash", [*POINTS, *(pytest.param(crash, marks=pytest.mark.faults) for crash in MORE_POINTS)], ids=str)
def test_a_power_cut_anywhere_loses_nothing(sqs: SqsEmulator, tmp_path: Path, library: Path, crash: Crash, left: Left) -> None:
    feed, sent, published = feed_of(sqs)
    before, log = tmp_path / "before" / "lake", tmp_path / "synced"
    before.parent.mkdir()
    guard = PowerGuard(sqs, before, log, tmp_path)
    assert consume(library, sqs, before, log, crash=crash) == KILLED
    assert guard.lost == []
    sqs.queue.before_delete = None
    after = Lake(str(cut(before, log, tmp_path / "after" / "lake", left, seed=len(str(crash)))))
    gone = published - set(sqs.queue.message_ids())
    refused = go_on(after, sqs)
    assert gone <= set(column(after, "bronze", "event_feed", "message_id"))
    is_whole(after, published, feed, sent, accounts=not refused)


def test_what_a_commit_names_is_on_disk_before_its_messages_are_deleted(sqs: SqsEmulator, tmp_path: Path, library: Path) -> None:
    """Data files, log entries, and every folder down to them, of a lake whose parents are new as well."""
    _, _, published = feed_of(sqs)
    (tmp_path / "disk").mkdir()
    lake, log = tmp_path / "disk" / "new" / "deep" / "lake", tmp_path / "synced"
    guard = PowerGuard(sqs, lake, log, tmp_path / "cuts")
    assert consume(library, sqs, lake, log) == 0
    assert (guard.lost, sqs.queue.message_ids()) == ([], [])
    disk = OnDisk.of(log)
    for path in lake.rglob("*"):
        if FOLDER in path.parts:
            continue  # derived from the table: a name that is lost is read anew, and what has a name was written through before
        assert disk.has_name(path), path
        assert path.is_dir() or disk.files[path] == path.stat().st_size, path
    assert all(disk.has_name(path) for path in (lake, lake.parent, lake.parent.parent))
    assert len(column(Lake(str(lake)), "bronze", "event_feed", "message_id")) == len(published)
    assert os.environ.get("LD_PRELOAD") is None


def test_nothing_is_deleted_where_a_sync_fails(sqs: SqsEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails says so at the sync at last; the second sync of the same file would succeed, over content that is gone."""
    _, _, published = feed_of(sqs)
    lake = Lake(str(tmp_path / "lake"))
    settings = Settings(queue_url=sqs.queue_url, wait_seconds=0, receivers=1, visibility_seconds=VISIBILITY)

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", failing)
        with pytest.raises(PermanentError, match=r"could not be written through to the disk \(Input/output error\): check the disk"):
            drain(EventQueue(sqs.client(), sqs.queue_url), lake, settings)
    assert set(sqs.queue.message_ids()) == published
