"""Real processes on the failing queue: one that is told to stop, and two that do the same work at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from mg_lakehouse.bronze.event_feed import drain
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import EventQueue
from mg_lakehouse.testing.sqs import Fault, SqsEmulator
from mg_lakehouse_tests.cli.commands import COMMAND, environment, sentence
from mg_lakehouse_tests.faults.invariants import Guard, column, in_bronze_once
from mg_lakehouse_tests.lake.feeds import bundles

pytestmark = pytest.mark.slow

SETTINGS: Final = Settings(wait_seconds=0, visibility_seconds=300)

DRAIN: Final = """
from mg_lakehouse.settings import load_settings
from mg_lakehouse.bronze.event_feed import drain
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.sources.sqs import open_queue

settings = load_settings()
report = drain(open_queue(settings), Lake(settings.lake_uri), settings)
print(report.new, report.already)
"""


@pytest.fixture
def sqs() -> Iterator[SqsEmulator]:
    with SqsEmulator(seed=1) as emulator:
        yield emulator


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def start(tmp_path: Path, sqs: SqsEmulator, lake: Lake, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    own = {**sqs.environment, "MG_LAKE_URI": lake.root, **variables}
    return subprocess.Popen(
        arguments, cwd=tmp_path, env=environment(tmp_path, **own), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_hands_back_what_it_did_not_commit(
    sqs: SqsEmulator, lake: Lake, tmp_path: Path, sign: signal.Signals
) -> None:
    """The signal comes while the first batch is being deleted and more is held: that batch is finished, the rest is back at once."""

    def stop(deleting: Sequence[str]) -> None:
        guard.look(deleting)
        if not sqs.queue.deleted:
            os.kill(process.pid, sign)

    published = sqs.publish(bundles(3_000))
    guard = Guard(sqs.queue, lake)
    sqs.queue.before_delete = stop
    process = start(tmp_path, sqs, lake, COMMAND, "run", MG_BATCH_MESSAGES="100", MG_VISIBILITY_SECONDS="3600")
    done = ended(process)
    assert "stopped" in sentence(done)
    visible, in_flight, _ = sqs.queue.counts()
    committed = column(lake, "bronze", "event_feed", "message_id")
    assert in_flight == 0
    assert visible > 0
    assert sorted(committed) == sorted(sqs.queue.deleted)
    assert sorted([*committed, *sqs.queue.message_ids()]) == sorted(published)
    drain(EventQueue(sqs.client(), sqs.queue_url), lake, SETTINGS)
    in_bronze_once(lake, published)
    assert guard.lost == []


def test_two_deployments_on_one_queue_and_one_lake_stay_exact(sqs: SqsEmulator, lake: Lake, tmp_path: Path) -> None:
    """Both hold many of the same messages, and their commits race."""
    published = sqs.publish(bundles(600))
    guard = Guard(sqs.queue, lake)
    twice = sqs.faults.add(Fault.DELIVERED_TWICE, "ReceiveMessage", probability=0.5)
    returning = sqs.faults.add(Fault.DELETED_RETURNS, "DeleteMessageBatch", probability=0.1)
    variables = {"MG_BATCH_MESSAGES": "25", "MG_WAIT_SECONDS": "1", "MG_RECEIVERS": "2"}
    processes = [start(tmp_path, sqs, lake, sys.executable, "-c", DRAIN, **variables) for _ in range(2)]
    results = [ended(process) for process in processes]
    assert [done.returncode for done in results] == [0, 0], [done.stderr for done in results]
    counts = [tuple(map(int, done.stdout.split())) for done in results]
    assert all(new > 0 for new, _ in counts)
    assert sum(new for new, _ in counts) == 600
    assert sum(already for _, already in counts) > 100
    assert min(twice.fired, returning.fired) > 20
    # What came back after both had gone.
    sqs.faults.clear()
    assert drain(EventQueue(sqs.client(), sqs.queue_url), lake, SETTINGS).new == 0
    assert sqs.queue.message_ids() == []
    in_bronze_once(lake, published)
    assert guard.lost == []
