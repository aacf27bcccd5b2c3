"""Runs that died: who judges them dead, who does not, and what becomes of what they held."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.liveness import Verdict, end_dead_runs, judge, missing_monitoring
from mg_lakehouse.dagster.liveness_sensor import run_to_repeat
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.run_heartbeats import RunHeartbeat, keep_beating
from mg_lakehouse.definitions import defs
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.dagster.homes import OURS, PACKAGED, POOLS_ONLY, add_run, beat_ago, hearts_of, holder, home, take
from mg_lakehouse_tests.dagster.many_processes import many_processes
from mg_lakehouse_tests.waiting import wait_until

NAMES = Names()
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STARTED, FAILED = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with home(tmp_path / "home") as made:
        yield made


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def heart(beat: float | None = None, asked: float | None = None, *, resting: bool = False) -> RunHeartbeat:
    """Times are seconds ago; a heart that beats every 5 s."""
    times = [None if ago is None else NOW - timedelta(seconds=ago) for ago in (beat, asked)]
    return RunHeartbeat("run", 5.0, beat=times[0], asked=times[1], resting=resting)


@pytest.mark.parametrize(
    ("ours", "found", "blocks", "verdict"),
    [
        (True, heart(beat=19), True, Verdict.LIVES),
        (True, heart(beat=21), True, Verdict.ASK),
        (False, heart(beat=21), False, Verdict.ASK),
        # A machine that slept for an hour has as long to answer as any.
        (True, heart(beat=3_600), True, Verdict.ASK),
        (True, heart(beat=3_600, asked=14), True, Verdict.ASKED),
        (True, heart(beat=3_600, asked=16), True, Verdict.DEAD),
        # It never came to its first step.
        (True, None, False, Verdict.ASK),
        (True, heart(asked=59), False, Verdict.ASKED),
        (True, heart(asked=61), False, Verdict.DEAD),
        # Its last step ended, and it did not.
        (True, heart(beat=900, resting=True), False, Verdict.ASK),
        # Other people's runs and older versions: never for being silent, and for blocking a pool of ours after an hour.
        (False, None, False, Verdict.LIVES),
        (False, heart(beat=9_000, resting=True), False, Verdict.LIVES),
        (False, None, True, Verdict.ASK),
        (False, heart(asked=3_500), True, Verdict.ASKED),
        (False, heart(asked=3_601), True, Verdict.DEAD),
        (False, heart(asked=3_500), False, Verdict.WITHDRAW),
    ],
)
def test_the_verdict_on_a_started_run(*, ours: bool, found: RunHeartbeat | None, blocks: bool, verdict: Verdict) -> None:
    run = dg.DagsterRun(job_name="ingest", status=STARTED, tags=OURS if ours else {})
    assert judge(run, found, NOW, created=NOW - timedelta(days=2), blocks=blocks) is verdict


@pytest.mark.parametrize("of_status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING])
def test_a_run_of_ours_that_does_not_start_is_given_up_after_ten_minutes(of_status: dg.DagsterRunStatus) -> None:
    def verdict(minutes: float, tags: dict[str, str]) -> Verdict:
        run = dg.DagsterRun(job_name="ingest", status=of_status, tags=tags)
        return judge(run, None, NOW, created=NOW - timedelta(minutes=minutes), blocks=False)

    assert [verdict(9, OURS), verdict(11, OURS), verdict(900, {})] == [Verdict.LIVES, Verdict.DEAD, Verdict.LIVES]


@pytest.mark.parametrize("config", [PACKAGED, POOLS_ONLY])
@pytest.mark.parametrize("pool", ["mg_bronze", "mg_activity", "mg_silver", "mg_gold", "mg_maintenance", "mg_reconciliation"])
def test_a_stopped_heart_is_asked_and_then_its_run_is_ended_and_its_place_given_to_the_next(tmp_path: Path, pool: str, config: str) -> None:
    with home(tmp_path / "home", config) as instance:
        dead, waiting = add_run(instance), add_run(instance)
        assert take(instance, pool, dead)
        assert not take(instance, pool, waiting)
        beat_ago(instance, dead, 40)
        beat_ago(instance, waiting, 1)
        assert end_dead_runs(instance, NAMES) == []
        assert status(instance, dead) is STARTED
        beat_ago(instance, dead, 600, asked=16)
        assert end_dead_runs(instance, NAMES) == [
            f"Run {dead[:8]} (ingest), whose heart stopped 10 minutes ago, gives no sign of life and was ended."
        ]
        assert status(instance, dead) is FAILED
        assert status(instance, waiting) is STARTED
        assert take(instance, pool, waiting)
        assert set(hearts_of(instance).all()) == {waiting}


def test_a_dead_run_that_stands_first_in_line_does_not_keep_the_place_from_the_next(instance: dg.DagsterInstance) -> None:
    """Dagster gives it the place when the holder ends, and nobody takes it."""
    holding, dead, waiting = (add_run(instance) for _ in range(3))
    assert [take(instance, "mg_silver", run_id) for run_id in (holding, dead)] == [True, False]
    instance.event_log_storage.free_concurrency_slots_for_run(holding)
    assert not take(instance, "mg_silver", waiting)
    for run_id in (holding, waiting):
        beat_ago(instance, run_id, 1)
    beat_ago(instance, dead, 60, asked=20)
    assert len(end_dead_runs(instance, NAMES)) == 1
    assert take(instance, "mg_silver", waiting)


def test_a_live_run_answers_whoever_asks_it(instance: dg.DagsterInstance) -> None:
    run_id, hearts = add_run(instance, tags=OURS), hearts_of(instance)
    with keep_beating(instance, run_id, 0.2):
        # As after a night's sleep of its machine.
        seen = hearts.all()[run_id]
        long_ago = RunHeartbeat(run_id, 0.2, beat=hearts.now() - timedelta(hours=9), asked=hearts.now())
        if hearts.put(seen, long_ago):
            wait_until(lambda: hearts.all()[run_id].asked is None, seconds=60)
        assert end_dead_runs(instance, NAMES) == []
        assert status(instance, run_id) is STARTED
    assert hearts.all()[run_id].resting


def test_an_observer_that_was_slow_does_not_end_a_run_that_beat_since(instance: dg.DagsterInstance) -> None:
    run_id, hearts = add_run(instance), hearts_of(instance)
    beat_ago(instance, run_id, 90, asked=30)
    seen = hearts.all()[run_id]
    assert hearts.beat(run_id, 5.0)
    assert not hearts.remove(seen)
    assert hearts.all()[run_id].asked is None


def test_a_run_that_was_ended_by_mistake_has_no_heart_again(instance: dg.DagsterInstance) -> None:
    run_id, hearts = add_run(instance), hearts_of(instance)
    with keep_beating(instance, run_id, 0.2):
        wait_until(lambda: hearts.remove(hearts.all()[run_id]), seconds=60)
        # It finds that its row is gone, and beats no more.
        wait_until(lambda: all(thread.name != "heartbeat" for thread in threading.enumerate()), seconds=60)
        assert hearts.all() == {}
    assert hearts.all() == {}


def test_of_two_observers_one_ends_a_run(instance: dg.DagsterInstance) -> None:
    run_id = add_run(instance)
    beat_ago(instance, run_id, 90, asked=30)
    with ThreadPoolExecutor(4) as observers:
        said = list(observers.map(lambda _: end_dead_runs(instance, NAMES), range(4)))
    assert sorted(map(len, said)) == [0, 0, 0, 1]
    assert len(list(instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE))) == 1


def test_a_run_that_is_being_canceled_ends_as_canceled(instance: dg.DagsterInstance) -> None:
    run_id = add_run(instance, status=dg.DagsterRunStatus.CANCELING)
    beat_ago(instance, run_id, 90, asked=30)
    assert len(end_dead_runs(instance, NAMES)) == 1
    assert status(instance, run_id) is dg.DagsterRunStatus.CANCELED


def test_runs_without_a_heart_are_left_alone(instance: dg.DagsterInstance) -> None:
    """An older version's ingest in our pool, and a job of somebody else's with our name."""
    older, others = add_run(instance), add_run(instance)
    assert take(instance, "mg_bronze", older)
    for _ in range(2):
        assert end_dead_runs(instance, NAMES) == []
    assert [status(instance, run_id) for run_id in (older, others)] == [STARTED, STARTED]
    assert holder(instance, "mg_bronze") == older


@pytest.mark.parametrize("config", [PACKAGED, POOLS_ONLY])
def test_a_place_that_an_ended_or_deleted_run_left_taken_is_freed(tmp_path: Path, config: str) -> None:
    with home(tmp_path / "home", config) as instance:
        failed = add_run(instance, status=FAILED)
        assert take(instance, "mg_silver", failed)
        assert take(instance, "mg_gold", "00000000-0000-4000-8000-000000000000")
        assert len(end_dead_runs(instance, NAMES)) == 2
        assert holder(instance, "mg_silver") is holder(instance, "mg_gold") is None


def test_another_feeds_pools_and_other_peoples_are_not_ours_to_free(instance: dg.DagsterInstance) -> None:
    failed = add_run(instance, status=FAILED)
    for pool in ("mg_transactional_silver", "warehouse"):
        assert take(instance, pool, failed)
    assert end_dead_runs(instance, NAMES) == []
    assert holder(instance, "warehouse") == failed
    assert len(end_dead_runs(instance, Names("transactional"))) == 1


def test_the_heart_of_a_run_that_ended_by_itself_goes_with_it(instance: dg.DagsterInstance) -> None:
    run_id = add_run(instance, status=dg.DagsterRunStatus.SUCCESS)
    beat_ago(instance, run_id, 1, resting=True)
    assert end_dead_runs(instance, NAMES) == []
    assert hearts_of(instance).all() == {}


def test_a_step_in_a_process_of_its_own_has_the_heartbeat_of_its_run(instance: dg.DagsterInstance) -> None:
    with dg.execute_job(dg.reconstructable(many_processes), instance=instance) as result:
        assert result.success
    assert hearts_of(instance).all()[result.run_id].resting
    assert end_dead_runs(instance, NAMES) == []
    assert hearts_of(instance).all() == {}


def test_everything_that_a_run_of_ours_executes_has_a_heartbeat() -> None:
    repository = dg.Definitions.merge(build_definitions(Settings()), dg.Definitions()).get_repository_def()
    ops = {node.name: node for job in repository.get_all_jobs() for node in job.graph.iterate_op_defs()}
    assert len(ops) > 10
    assert [name for name, op in ops.items() if "heartbeat" not in op.required_resource_keys] == []
    of_feed = build_definitions(Settings(feed="receipts")).get_repository_def()
    ops = {node.name: node for job in of_feed.get_all_jobs() for node in job.graph.iterate_op_defs()}
    assert [name for name, op in ops.items() if "receipts_heartbeat" not in op.required_resource_keys] == []


def test_runs_of_our_jobs_say_that_they_beat_from_the_start() -> None:
    jobs = [job for job in defs().get_repository_def().get_all_jobs() if not job.name.startswith("__")]
    assert len(jobs) == 9
    assert [job.name for job in jobs if set(OURS) - set(job.tags)] == []


def test_a_home_that_frees_no_places_is_told_what_it_lacks(tmp_path: Path) -> None:
    with home(tmp_path / "new") as new, home(tmp_path / "old", POOLS_ONLY) as old:
        assert missing_monitoring(new) is None
        said = missing_monitoring(old)
    assert said is not None
    assert "free_slots_after_run_end_seconds: 10" in said


@pytest.mark.parametrize(
    ("of_status", "tags", "repeated"),
    [
        (FAILED, {"dagster/failure_reason": "UNKNOWN"}, True),
        # A command's run, which Dagster means to try again and cannot.
        (FAILED, {"dagster/failure_reason": "UNKNOWN", "dagster/will_retry": "true"}, True),
        # It would fail again.
        (FAILED, {"dagster/failure_reason": "STEP_FAILURE"}, False),
        (dg.DagsterRunStatus.CANCELED, {}, False),
        (STARTED, {}, False),
    ],
)
def test_gold_is_built_again_where_its_run_was_killed(
    instance: dg.DagsterInstance, of_status: dg.DagsterRunStatus, tags: dict[str, str], *, repeated: bool
) -> None:
    run_id = add_run(instance, "gold", of_status, tags)
    planned = dg.DagsterEvent(
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
        "gold",
        event_specific_data=_planned(NAMES.gold("fct_messages")),
    )
    instance.report_dagster_event(planned, run_id=run_id)
    run = run_to_repeat(instance, NAMES)
    assert (run.run_id if run else None) == (run_id if repeated else None)


def _planned(key: dg.AssetKey) -> Any:
    from dagster._core.events import AssetMaterializationPlannedData

    return AssetMaterializationPlannedData(key)
