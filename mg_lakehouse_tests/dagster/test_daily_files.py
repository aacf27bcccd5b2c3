"""The daily files in Dagster: runs over days and types, schedules, the sensor that has them flattened, and the report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mg_lakehouse.bronze.account_activity import FileKey, files_in_bronze
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.jobs import ACTIVITY_JOB, ACTIVITY_REPORT_JOB, FLATTEN_JOB
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import activity_files, activity_range, today
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings, load_settings
from mg_lakehouse.testing.web_service import ActivityApi, ApiFault
from mg_lakehouse_tests.dagster.ticks import tick
from mg_lakehouse_tests.lake.feeds import receive, rows_of

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 2)
KEY = "a-key-for-nobody-to-see"
SCHEDULES = {"activity_daily", "activity_weekly", "activity_report_daily", "activity_report_weekly"}


def an_open(number: int) -> str:
    return f"<OpenActivity><ActivityId>o{number}</ActivityId><Timestamp>2026-03-01T17:00:0{number}Z</Timestamp></OpenActivity>"


@pytest.fixture
def api() -> Iterator[ActivityApi]:
    with ActivityApi({(FIRST, "OPENS"): [an_open(1), an_open(2)]}, api_key=KEY, today=lambda: date(2026, 3, 3)) as server:
        yield server


@pytest.fixture
def settings(api: ActivityApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in {**api.environment, "MG_LAKE_URI": str(tmp_path / "lake"), "MG_ACTIVITY_TYPES": "OPENS,CLICKS,BOUNCES"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return load_settings()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def run(settings: Settings, instance: dg.DagsterInstance, job: str, **options: Any) -> dg.ExecuteInProcessResult:
    found = build_definitions(settings).resolve_job_def(job)
    return found.execute_in_process(instance=instance, raise_on_error=False, **options)


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """What each materialized file says of itself, by partition."""
    return {
        str(event.partition): {name: value.value for name, value in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
        if event.asset_key == Names().account_activity
    }


def test_one_run_fetches_a_range_of_days_and_types_and_says_what_each_file_was(
    api: ActivityApi, settings: Settings, instance: dg.DagsterInstance
) -> None:
    result = run(settings, instance, ACTIVITY_JOB, tags=activity_range(settings, FIRST, LAST))
    assert result.success
    found = metadata(result)
    assert set(found) == {f"{day}|{kind}" for day in (FIRST, LAST) for kind in ("OPENS", "CLICKS", "BOUNCES")}
    assert found["2026-03-01|OPENS"]["items"] == 2
    assert found["2026-03-02|BOUNCES"]["items"] == 0
    assert {"bytes", "bytes_fetched", "bundles_new", "file_sha256", "delta_version"} < set(found["2026-03-01|OPENS"])
    again = run(settings, instance, ACTIVITY_JOB, tags=activity_range(settings, FIRST, LAST))
    assert again.success
    assert len(api.requests) == 6
    assert all("was not fetched" in each["note"] for each in metadata(again).values())


def test_a_run_says_how_far_each_file_is(settings: Settings, instance: dg.DagsterInstance) -> None:
    result = run(settings, instance, ACTIVITY_JOB, tags=activity_range(settings, FIRST, FIRST))
    said = [record.user_message for record in instance.all_logs(result.run_id)]
    wanted = ["OPENS of 2026-03-01: 1 bundles in bronze", "account_activity: 1 files", "account_activity: 3 files"]
    assert [each for each in said if each in wanted] == wanted


def test_a_single_partition_is_fetched_and_again_where_the_config_says_so(
    api: ActivityApi, settings: Settings, instance: dg.DagsterInstance
) -> None:
    key = dg.MultiPartitionKey({"activity_date": "2026-03-01", "activity_type": "OPENS"})
    assert run(settings, instance, ACTIVITY_JOB, partition_key=key).success
    config = {"ops": {Names().account_activity.to_python_identifier(): {"config": {"again": True}}}}
    again = run(settings, instance, ACTIVITY_JOB, partition_key=key, run_config=config)
    assert metadata(again)["2026-03-01|OPENS"]["bundles_already_in_bronze"] == 1
    assert len(api.requests) == 2


def test_a_file_that_is_refused_fails_the_run_in_a_sentence_and_keeps_no_other_away(
    api: ActivityApi, settings: Settings, instance: dg.DagsterInstance
) -> None:
    api.fail(ApiFault.NOT_A_FILE)
    result = run(settings, instance, ACTIVITY_JOB, tags=activity_range(settings, FIRST, LAST))
    assert not result.success
    (failure,) = [event.step_failure_data for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_FAILURE]
    assert failure.user_failure_data is not None
    assert str(failure.user_failure_data.description).startswith("The file OPENS of 2026-03-01 was answered with something that is neither")
    assert not [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    assert len(metadata(result)) == len(files_in_bronze(Lake(settings.lake_uri), [FIRST, LAST])) == 5
    assert FileKey(FIRST, "OPENS") not in files_in_bronze(Lake(settings.lake_uri), [FIRST])


def test_the_key_is_in_nothing_that_dagster_keeps(
    api: ActivityApi, settings: Settings, instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    api.api_key = "another"
    result = run(settings, instance, ACTIVITY_JOB, tags=activity_range(settings, FIRST, FIRST))
    assert not result.success
    kept = [str(record) for record in instance.all_logs(result.run_id)] + [str(run) for run in instance.get_runs()]
    assert kept
    assert not [text for text in [*kept, *capfd.readouterr()] if KEY in text]


def test_daily_files_are_flattened_without_a_queue_and_the_report_counts_what_the_queue_lost(
    api: ActivityApi, settings: Settings, instance: dg.DagsterInstance
) -> None:
    lake = Lake(settings.lake_uri)
    receive(lake, [f"<ActivityItems>{an_open(2)}{an_open(3)}</ActivityItems>"])
    definitions = build_definitions(settings)

    assert isinstance(tick(definitions, "daily_files_sensor", instance), str)
    run(settings, instance, ACTIVITY_JOB, tags=activity_range(settings, FIRST, FIRST))
    asked = tick(definitions, "daily_files_sensor", instance)
    assert isinstance(asked, dg.RunRequest)
    assert asked.partition_key == today()
    assert asked.run_config["ops"] == {"silver": {"config": {"rederive": False, "dry_run": False}}}
    assert run(settings, instance, FLATTEN_JOB, partition_key=today()).success
    assert isinstance(tick(definitions, "daily_files_sensor", instance), str)
    assert sorted(rows_of(lake, "silver", "opens")["activity_id"]) == ["o1", "o2", "o3"]
    op = "bronze__account_activity_queue_lost_nothing"
    days = {"config": {"first_day": "2026-03-01", "last_day": "2026-03-01"}}
    report = run(settings, instance, ACTIVITY_REPORT_JOB, run_config={"ops": {op: days, "gold__reconciliation": days}})
    checks = {each.check_name: each for each in report.get_asset_check_evaluations()}
    check, explained = checks["queue_lost_nothing"], checks["differences_explained"]
    numbers = {name: value.value for name, value in check.metadata.items()}
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description == "1 events of 3 files came from the files only."
    assert [numbers[f"events_{name}"] for name in ("in_files", "in_both", "only_in_files", "only_from_queue")] == [2, 1, 1, 1]
    shown = check.metadata["by_day_and_type"]
    assert isinstance(shown, dg.TableMetadataValue)
    assert shown.records[-1].data == {"day": "2026-03-01", "type": "OPENS", "in_file": 2, "in_both": 1, "only_file": 1, "only_queue": 1}
    # Silver has three opens of the day, by no one in particular, and MessageGears says two, twice.
    assert (explained.passed, explained.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert explained.description == (
        "1 numbers differ without a known reason; the largest difference, opens on 2026-03-01: 3 here, 2 in the activity file."
    )
    table = rows_of(lake, "gold", "reconciliation").filter(metric="opens").sort("compared_with")
    assert table.select("compared_with", "ours", "theirs", "lost_by_the_queue").rows() == [
        ("account_summary", 3, 2, None),
        ("activity_file", 3, 2, 1),
    ]


def test_days_and_types_are_the_partitions_up_to_yesterday() -> None:
    files = activity_files(Settings(activity_start_date=date(2026, 3, 1)))
    keys = files.get_partition_keys(current_time=datetime(2026, 3, 10, 3, tzinfo=UTC))  # in New York it is still the 9th
    assert len(keys) == 8 * 17
    assert keys[-1].startswith("2026-03-08|")


def test_a_month_of_all_types_is_a_run_for_each_type() -> None:
    """What the UI's backfill makes of a selection, under the policy of the asset."""
    (definition,) = [
        each
        for each in build_definitions(Settings()).assets or ()
        if isinstance(each, dg.AssetsDefinition) and Names().account_activity in each.keys
    ]
    assert definition.backfill_policy == dg.BackfillPolicy.single_run()
    files = activity_files(Settings())
    march = [key for key in files.get_partition_keys(current_time=datetime(2026, 4, 10, tzinfo=UTC)) if key.startswith("2026-03-")]
    ranges = files.subset_with_partition_keys(march).get_partition_key_ranges(files)
    assert (len(march), len(ranges)) == (31 * 17, 17)
    assert {len(files.get_partition_keys_in_range(each)) for each in ranges} == {31}


def test_without_credentials_the_schedules_are_stopped_and_say_what_is_missing(instance: dg.DagsterInstance) -> None:
    definitions = build_definitions(Settings(account_id="1", api_key=None))
    for name in SCHEDULES:
        schedule = definitions.resolve_schedule_def(name)
        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
        with dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime(2026, 3, 9, 12, 47, tzinfo=UTC)) as context:
            said = schedule.evaluate_tick(context)
        assert said.skip_message == "Daily files need MessageGears' credentials: set MG_API_KEY."


@pytest.mark.parametrize(
    ("name", "at", "days"),
    [
        # 08:47 in New York is 13:47Z in winter and 12:47Z in summer; the clock changes on 8 March and on 1 November 2026.
        ("activity_daily", datetime(2026, 3, 8, 12, 47, tzinfo=UTC), ("2026-03-07", "2026-03-07")),
        ("activity_daily", datetime(2026, 3, 7, 13, 47, tzinfo=UTC), ("2026-03-06", "2026-03-06")),
        ("activity_daily", datetime(2026, 11, 1, 13, 47, tzinfo=UTC), ("2026-10-31", "2026-10-31")),
        ("activity_weekly", datetime(2026, 3, 15, 13, 17, tzinfo=UTC), ("2026-03-07", "2026-03-14")),
    ],
)
def test_a_schedule_asks_for_whole_days_of_every_type(
    settings: Settings, instance: dg.DagsterInstance, name: str, at: datetime, days: tuple[str, str]
) -> None:
    schedule = build_definitions(settings).resolve_schedule_def(name)
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=at) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    assert request.tags["dagster/asset_partition_range_start"] == f"{days[0]}|OPENS"
    assert request.tags["dagster/asset_partition_range_end"] == f"{days[1]}|BOUNCES"


def test_the_report_of_a_schedule_is_of_the_days_that_it_fetched(settings: Settings, instance: dg.DagsterInstance) -> None:
    definitions = build_definitions(settings)
    schedule = definitions.resolve_schedule_def("activity_report_weekly")
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime(2026, 3, 15, 14, 47, tzinfo=UTC)) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    assert KEY not in str(request)
    ops = request.run_config["ops"]
    assert set(ops) == {"bronze__account_activity_queue_lost_nothing", "gold__reconciliation"}
    assert {op["config"]["first_day"] for op in ops.values()} == {"2026-03-07"}
    assert {op["config"]["last_day"] for op in ops.values()} == {"2026-03-14"}
    assert run(settings, instance, ACTIVITY_REPORT_JOB, run_config=request.run_config).success


def test_the_schedules_come_at_the_same_hour_of_the_wall_clock_whatever_the_season(settings: Settings) -> None:
    schedule = build_definitions(settings).resolve_schedule_def("activity_daily")
    from dagster._utils.schedules import schedule_execution_time_iterator

    times = schedule_execution_time_iterator(
        datetime(2026, 3, 6, 0, tzinfo=UTC).timestamp(), str(schedule.cron_schedule), schedule.execution_timezone
    )
    found = [next(times).astimezone(UTC) for _ in range(4)]
    assert [(time.day, time.hour, time.minute) for time in found] == [(6, 13, 47), (7, 13, 47), (8, 12, 47), (9, 12, 47)]
