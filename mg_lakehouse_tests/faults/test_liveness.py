"""Runs killed inside Dagster, with the real daemon: what they held is given back, and the next runs go on by themselves."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import dagster as dg
import pytest

from mg_lakehouse.dagster.jobs import GOLD_JOB
from mg_lakehouse.dagster.liveness import UNFINISHED
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.run_heartbeats import keep_beating
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.cli.commands import COMMAND, environment
from mg_lakehouse_tests.dagster.homes import PACKAGED, POOLS_ONLY, add_run, hearts_of, holder, home, take
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.faults.deployment import Deployment, deployed
from mg_lakehouse_tests.faults.invariants import column, in_bronze_once, nothing_is_twice
from mg_lakehouse_tests.waiting import wait_until

pytestmark = pytest.mark.slow

WITHIN: Final = 120
"""Seconds after a kill in which ingest and gold are at work again, on a machine that has nothing else to do."""

SMALL: Final = {
    "MG_BATCH_MESSAGES": "20",
    "MG_RECEIVERS": "1",
    "MG_SENSOR_SECONDS": "1",
    "MG_SENSOR_MESSAGES": "10",
    "MG_VISIBILITY_SECONDS": "30",
}

QUICK: Final = PACKAGED.replace("_seconds: 10\n", "_seconds: 1\n")
"""The packaged configuration, but that it looks at runs and places every second."""


@pytest.fixture
def sqs() -> Iterator[SqsEmulator]:
    with SqsEmulator(seed=1) as emulator:
        yield emulator


def opens(first: int, count: int) -> list[str]:
    numbers = range(first, first + count)
    return [bundle(item("OpenActivity", ActivityId=f"open-{number}", RequestId="job", EmailAddress="a@b.example")) for number in numbers]


def at_a_delete(sqs: SqsEmulator, act: Callable[[], None]) -> None:
    """Have something happen once, in the middle of an ingest: a batch is committed and is about to be deleted."""

    def once(_: Sequence[str]) -> None:
        sqs.queue.before_delete = None
        act()

    sqs.queue.before_delete = once


def everything_is_in_silver(deployment: Deployment, sqs: SqsEmulator, published: Sequence[str]) -> bool:
    return not sqs.queue.message_ids() and len(column(deployment.lake, "silver", "opens", "activity_id")) == len(published)


def test_a_group_that_is_killed_in_an_ingest_goes_on_when_it_is_started_again(sqs: SqsEmulator, tmp_path: Path) -> None:
    """The short form: daemon, code server and run die at once, as with a host. The run would stay STARTED in its pool for ever."""
    published = sqs.publish(opens(0, 100))
    with deployed(tmp_path, sqs, config=QUICK, **SMALL, MG_HEARTBEAT_SECONDS="0.5") as deployment:
        killed: list[str] = []

        def kill() -> None:
            dead = holder(deployment.instance, "mg_bronze") or ""
            deployment.kill("code", "daemon")
            killed.append(dead)

        at_a_delete(sqs, kill)
        wait_until(lambda: bool(killed), seconds=WITHIN)
        deployment.start()
        wait_until(lambda: everything_is_in_silver(deployment, sqs, published), seconds=WITHIN * deployment.slowness)
        ended = deployment.instance.get_run_by_id(killed[0])
        assert ended is not None
        assert ended.status == dg.DagsterRunStatus.FAILURE
    in_bronze_once(deployment.lake, published)


def run_command(sqs: SqsEmulator, folder: Path, *arguments: str, heartbeat: str | None = "0.5") -> subprocess.Popen[str]:
    """`mg-lakehouse run` in the home of this folder."""
    variables = {**sqs.environment, **SMALL, "MG_LAKE_URI": str(folder / "lake"), "DAGSTER_HOME": str(folder / "home")}
    return subprocess.Popen(
        [COMMAND, "run", *arguments],
        cwd=folder,
        env=environment(folder, **variables, **({"MG_HEARTBEAT_SECONDS": heartbeat} if heartbeat else {})),
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


def test_a_killed_command_does_not_keep_the_next_one_waiting(sqs: SqsEmulator, tmp_path: Path) -> None:
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
def test_a_command_says_whom_it_waits_for_and_ends_when_it_is_told_to(
    sqs: SqsEmulator, tmp_path: Path, sign: signal.Signals | None
) -> None:
    """The place is held by a run that lives. Without a signal its own patience ends it."""
    sqs.publish(opens(0, 10))
    with home(tmp_path / "home", POOLS_ONLY) as instance:
        live = add_run(instance)
        assert take(instance, "mg_bronze", live)
        with keep_beating(instance, live, 0.5):
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


KILLED: Final = {
    "the worker": lambda deployment: deployment.kill_workers(),
    "the daemon": lambda deployment: deployment.kill("daemon"),
    "all of them": lambda deployment: deployment.kill("code", "daemon"),
}


@pytest.mark.faults
@pytest.mark.parametrize("killed", KILLED)
@pytest.mark.parametrize("pool", ["mg_bronze", "mg_silver", "mg_gold"])
def test_ingest_and_gold_are_at_work_again_within_two_minutes(sqs: SqsEmulator, tmp_path: Path, pool: str, killed: str) -> None:
    """With the packaged configuration. What was killed is started again, as by a supervisor, and nothing else is done."""
    published = sqs.publish(opens(0, 100))
    with deployed(tmp_path, sqs, **SMALL) as deployment:
        struck = when_held(deployment.instance, sqs, pool, lambda: KILLED[killed](deployment))
        wait_until(struck, seconds=2 * WITHIN)
        deployment.start()
        goes_on(deployment, sqs, published)


@pytest.mark.faults
@pytest.mark.parametrize("pool", ["mg_bronze", "mg_gold"])
def test_the_daemon_goes_on_behind_a_command_that_was_killed(sqs: SqsEmulator, tmp_path: Path, pool: str) -> None:
    published = sqs.publish(opens(0, 100))
    deployment = Deployment(tmp_path, sqs, variables=SMALL)
    try:
        command = run_command(sqs, tmp_path, heartbeat=None)
        wait_until(when_held(deployment.instance, sqs, pool, command.kill), seconds=2 * WITHIN)
        command.communicate()
        deployment.start()
        goes_on(deployment, sqs, published)
    finally:
        deployment.end()


def when_held(instance: dg.DagsterInstance, sqs: SqsEmulator, pool: str, kill: Callable[[], None]) -> Callable[[], bool]:
    """Kill while a run holds the pool; what this gives says whether it was done. Of bronze in the middle of its deletes."""
    done: list[bool] = []

    def strike() -> None:
        kill()
        done.append(True)

    def held() -> bool:
        held_by = None if done or pool == "mg_bronze" else holder(instance, pool)
        if held_by is not None and (pool != "mg_gold" or is_of_gold(instance.get_run_by_id(held_by))):
            strike()
        return bool(done)

    if pool == "mg_bronze":
        at_a_delete(sqs, strike)
    return held


def goes_on(deployment: Deployment, sqs: SqsEmulator, published: list[str]) -> None:
    """From now on more messages come: they are ingested, and gold is at work."""
    killed_at = datetime.now(UTC)
    published += sqs.publish(opens(len(published), 50))
    wait_until(
        lambda: everything_is_in_silver(deployment, sqs, published) and builds_gold(deployment.instance, killed_at),
        seconds=WITHIN * deployment.slowness,
    )
    in_bronze_once(deployment.lake, published)
    nothing_is_twice(deployment.lake)


def builds_gold(instance: dg.DagsterInstance, since: datetime) -> bool:
    """Whether a run of gold began since then, or one that lived through it did what it had begun."""
    return any(
        (record.start_time or 0) > since.timestamp()
        or (record.dagster_run.status == dg.DagsterRunStatus.SUCCESS and (record.end_time or 0) > since.timestamp())
        for record in instance.get_run_records()
        if is_of_gold(record.dagster_run)
    )


def is_of_gold(run: dg.DagsterRun | None) -> bool:
    """Maintenance takes gold's place too, by the clock."""
    return run is not None and (run.job_name == GOLD_JOB or Names().gold("fct_messages") in (run.asset_selection or ()))
