"""What runs beside a measurement: a service with all it starts, a queue that is full, a queue with a steady feed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from benchmarks.data.feed import bodies
from benchmarks.harness.processes import run, work_command
from benchmarks.work.queue_process import filled_queue
from benchmarks.work.steady_feed import NEW, recipient, steady_feed
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving import services
from mg_lakehouse.serving.services import service
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import EventQueue, open_queue
from mg_lakehouse_tests.events.frames import flat
from mg_lakehouse_tests.lake.feeds import rows_of
from mg_lakehouse_tests.ui.services import processes_of_group
from mg_lakehouse_tests.waiting import wait_until

# Its child is told to ignore Ctrl-C, as some do.
SERVICE = """
import signal, subprocess, sys
child = "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); sys.stdin.read()"
subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE).wait()
"""


def queue_of(environment: Mapping[str, str]) -> EventQueue:
    return open_queue(
        Settings(queue_url=environment["MG_QUEUE_URL"]),
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        access_key_id=environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


def test_a_service_ends_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_GRACE_SECONDS", 0.5)
    log = tmp_path / "log.txt"
    with service([sys.executable, "-c", SERVICE], folder=tmp_path, environment={}, log=log) as process:
        wait_until(lambda: "up" in log.read_text(), seconds=60)
        assert len(processes_of_group(process.pid)) == 2
    assert processes_of_group(process.pid) == []


def test_a_full_queue_is_drained_by_a_process_of_its_own(tmp_path: Path) -> None:
    feed = tmp_path / "feed.parquet"
    frame = bodies(tmp_path, events=100)
    frame.write_parquet(feed)
    with filled_queue(feed, 25) as environment:
        done = run(work_command("drain"), {"lake": str(tmp_path / "lake"), "environment": dict(environment)})
        assert queue_of(environment).depth() == (0, 0, 0)
    assert (done.answer["events"], done.answer["deleted"]) == (25, 25)
    received = rows_of(Lake(str(tmp_path / "lake")), "bronze", "event_feed")
    # Ten messages, again and again.
    assert received.group_by("body").len().sort("len")["len"].to_list() == [2] * 5 + [3] * 5
    assert set(received["body"]) == set(frame["body"])


def test_a_steady_feed_sends_nothing_before_it_is_told_and_logs_what_it_sent(tmp_path: Path) -> None:
    with steady_feed(200, tmp_path) as feed:
        queue = queue_of(feed.environment)
        assert queue.receive(at_most=10, wait_seconds=0, visibility_seconds=60).messages == []
        assert feed.sent() == {}
        feed.begin()
        wait_until(lambda: len(feed.sent()) >= 3 * NEW, seconds=60)
        (first,) = queue.receive(at_most=1, wait_seconds=5, visibility_seconds=60).messages
        sent = feed.sent()
    deliveries = flat(first.body).tables["deliveries"]
    assert deliveries.height == NEW
    numbers = deliveries["recipient_id"].str.strip_prefix(recipient("")).cast(pl.Int64)
    assert set(numbers) <= sent.keys()
    times = [sent[number] for number in sorted(sent)]
    assert times == sorted(times)
    assert abs(times[0] - first.sent_at.timestamp()) < 3_600  # both are seconds since the epoch
