"""The maintenance job as Dagster runs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mg_lakehouse.dagster.assets.maintenance import MAINTENANCE_JOB, todays_small_files
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse_tests.lake.feeds import bundles, receive

NOW = datetime.now(UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lake with three small files of today and three of a day that closed."""
    settings = Settings(lake_uri=str(tmp_path / "lake"), small_files=2)
    lake = Lake(settings.lake_uri)
    for number in range(3):
        receive(lake, bundles(2), first=4 * number, received_at=NOW)
        receive(lake, bundles(2), first=4 * number + 2, received_at=NOW - timedelta(days=2))
    flatten_new(lake)
    return settings


def observed(settings: Settings, config: dg.RunConfig | None = None) -> dict[str, dict[str, object]]:
    """Run the job; what was observed of each asset."""
    job = build_definitions(settings).resolve_job_def(MAINTENANCE_JOB)
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, run_config=config)
    assert result.success
    found = [event.asset_observation_data.asset_observation for event in result.all_events if event.is_asset_observation]
    return {each.asset_key.to_user_string(): {name: value.value for name, value in each.metadata.items()} for each in found}


def test_the_nightly_run_compacts_every_day_and_is_seen_on_the_assets_page(settings: Settings) -> None:
    numbers = observed(settings)["bronze/event_feed"]
    assert (numbers["files_before"], numbers["files"], numbers["partitions_merged"]) == (6, 2, 2)


def test_the_hourly_run_touches_today_alone(settings: Settings) -> None:
    numbers = observed(settings, todays_small_files(Names()))["bronze/event_feed"]
    assert (numbers["files_before"], numbers["files"], numbers["partitions_merged"]) == (6, 4, 1)


def test_golds_writer_and_golds_maintenance_exclude_each_other(settings: Settings) -> None:
    """A rewrite of gold that commits first would make a build fail; bronze and silver only append, and need no such care."""
    nodes = build_definitions(settings).resolve_job_def(MAINTENANCE_JOB).nodes
    assert {node.name: node.definition.pools for node in nodes} == {
        "maintain_bronze": {"mg_maintenance"},
        "maintain_silver": {"mg_maintenance"},
        "maintain_gold": {"mg_gold"},
    }


def test_it_is_scheduled_hourly_and_nightly(settings: Settings) -> None:
    repository = build_definitions(settings).get_repository_def()
    schedules = {each.name: each for each in repository.schedule_defs if each.job_name == MAINTENANCE_JOB}
    assert set(schedules) == {"compaction_hourly", "maintenance_daily"}
    assert all(each.default_status == dg.DefaultScheduleStatus.RUNNING for each in schedules.values())
    requests = schedules["compaction_hourly"].evaluate_tick(dg.build_schedule_context(scheduled_execution_time=NOW)).run_requests
    assert requests is not None
    assert {op["config"]["full"] for op in requests[0].run_config["ops"].values()} == {False}
