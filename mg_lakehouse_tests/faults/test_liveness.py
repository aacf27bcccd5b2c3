"""Runs killed inside Dagster, with the real daemon: what they held is given back, and the next runs go on by themselves."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import dagster as dg
import pytest

from mg_lakehouse.hearts import beating
from mg_lakehouse.liveness import UNFINISHED
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse_tests.assets.homes import POOLS_ONLY, add_run, hearts_of, holder, home, take
from mg_lakehouse_tests.cli.commands import COMMAND, environment
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.faults.deployment import Deployment, deployed
from mg_lakehouse_tests.faults.invariants import column, in_bronze_once
from mg_lakehouse_tests.standins.sqs import SqsStandIn
from mg_lakehouse_tests.waiting import wait_until

WITHIN: Final = 120
"""Seconds after a kill in which ingest and gold are at work again."""

SMALL: Final = {
    "MG_BATCH_MESSAGES": "20",
    "MG_RECEIVERS": "1",
    "MG_SENSOR_SECONDS": "1",
    "MG_SENSOR_MESSAGES": "10",
    "MG_VISIBILITY_SECONDS": "30",
}


@pytest.fixture
def sqs() -> Iterator[SqsStandIn]:
    with SqsStandIn(seed=1) as standin:
        yield standin


def opens(first: int, count: int) -> list[str]:
    numbers = range(first, first + count)
    return [bundle(item("OpenActivity", ActivityId=f"open-{number}", RequestId="job", EmailAddress="a@b.example")) for number in numbers]


def at_a_delete(sqs: SqsStandIn, act: Callable[[], None]) -> None:
    """Have something happen once, in the middle of an ingest: a batch is committed and is about to be deleted."""

    def once(_: Sequence[str]) -> None:
        sqs.queue.before_delete = None
        act()

    sqs.queue.before_delete = once


def everything_is_in_silver(deployment: Deployment, sqs: SqsStandIn, published: Sequence[str]) -> bool:
    return not sqs.queue.message_ids() and len(column(deployment.lake, "silver", "opens", "activity_id")) == len(published)


def nothing_is_left_behind(deployment: Deployment) -> bool:
    """No run is unfinished, no place is held and no heart is stored."""
    pools = [deployment.holder(pool) for pool in ("bronze", "silver", "gold")]
    return not deployment.runs(dg.DagsterRunStatus.STARTED) and not any(pools) and not hearts_of(deployment.instance).all()


def test_a_group_that_is_killed_in_an_ingest_goes_on_when_it_is_started_again(sqs: SqsStandIn, tmp_path: Path) -> None:
    """The short form: daemon, code server and run die at once, as with a host. The run would stay STARTED in its pool for ever."""
    published = sqs.publish(opens(0, 100))
    with deployed(tmp_path, sqs, **SMALL, MG_HEARTBEAT_SECONDS="0.5") as deployment:
        killed: list[str] = []

        def kill() -> None:
            holder = deployment.holder("bronze") or ""
            deployment.kill("code", "daemon")
            killed.append(holder)

        at_a_delete(sqs, kill)
        wait_until(lambda: bool(killed), seconds=WITHIN)
        deployment.start()
        wait_until(lambda: everything_is_in_silver(deployment, sqs, published), seconds=WITHIN)
        ended = deployment.instance.get_run_by_id(killed[0])
        assert ended is not None
        assert ended.status == dg.DagsterRunStatus.FAILURE
    in_bronze_once(deployment.lake, published)


def run_command(sqs: SqsStandIn, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`mg-lakehouse run` in the home of this folder."""
    variables = {**sqs.environment, **SMALL, "MG_LAKE_URI": str(folder / "lake"), "DAGSTER_HOME": str(folder / "home")}
    return subprocess.Popen(
        [COMMAND, "run", *arguments],
        cwd=folder,
        env=environment(folder, **variables, MG_HEARTBEAT_SECONDS="0.5"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said_until(process: subprocess.Popen[str], words: str) -> str:
    """What a command prints on standard error, until it says these words."""
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, f"it ended without a word of {words!r}: {said}"
        said += line
    return said


def test_a_killed_command_does_not_keep_the_next_one_waiting(sqs: SqsStandIn, tmp_path: Path) -> None:
    published = sqs.publish(opens(0, 100))
    with home(tmp_path / "home") as instance:
        first = run_command(sqs, tmp_path)
        at_a_delete(sqs, first.kill)
        assert first.wait(WITHIN) == -signal.SIGKILL
        assert (dead := holder(instance, "mg_bronze")) is not None
        # What it had received is back.
        sqs.queue.show(sqs.queue.message_ids())
        second = run_command(sqs, tmp_path)
        try:
            assert f"Run {dead[:8]} (ingest), whose heart stopped" in said_until(second, "was ended")
            wait_until(lambda: not sqs.queue.message_ids(), seconds=WITHIN)
            assert holder(instance, "mg_bronze") != dead
        finally:
            # Gold is another test's.
            second.kill()
            second.communicate()
    in_bronze_once(Lake(str(tmp_path / "lake")), published)


@pytest.mark.parametrize("sign", [signal.SIGTERM, None, pytest.param(signal.SIGINT, marks=pytest.mark.faults)])
def test_a_command_says_whom_it_waits_for_and_ends_when_it_is_told_to(sqs: SqsStandIn, tmp_path: Path, sign: signal.Signals | None) -> None:
    """The place is held by a run that lives. Without a signal its own patience ends it."""
    sqs.publish(opens(0, 10))
    with home(tmp_path / "home", POOLS_ONLY) as instance:
        live = add_run(instance)
        assert take(instance, "mg_bronze", live)
        with beating(instance, live, 0.5):
            waiting = run_command(sqs, tmp_path, "--wait", "600" if sign else "1")
            said = said_until(waiting, "holds mg_bronze")
            if sign:
                waiting.send_signal(sign)
            _, rest = waiting.communicate(timeout=WITHIN)
        assert waiting.returncode == 1
        assert f"Run {live[:8]} (ingest)" in said
        assert "free_slots_after_run_end_seconds" in said
        assert ("was stopped" if sign else "run this again when that run has ended") in rest
        assert "Traceback" not in rest
        assert holder(instance, "mg_bronze") == live
        assert [run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))] == [live]
        assert set(hearts_of(instance).all()) == {live}
    assert len(sqs.queue.message_ids()) == 10
