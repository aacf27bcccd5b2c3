"""Days of silver made anew through Dagster, and gold that follows for the jobs whose rows changed and no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from deltalake import DeltaTable

from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import today
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.gold.helpers import build, one, replaced, table, versions
from mg_lakehouse_tests.lake.feeds import START, receive, rows_of

DAY = timedelta(days=1)


def delivered(job: str, who: int) -> str:
    return item("DeliveredMessageActivity", ActivityId=f"{job}-{who}", RequestId=job, RecipientId=str(who), EmailAddress=f"{who}@gmail.com")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three jobs, one on each of three days."""
    lake = Lake(str(tmp_path / "lake"))
    for number in range(3):
        receive(lake, [bundle(*(delivered(f"b{number}-job", who) for who in range(3)))], first=number, received_at=START + number * DAY)
        flatten_new(lake)
    return lake


def materialize(lake: Lake, days: int, *, tables: tuple[str, ...] = ("deliveries",), **config: Any) -> dict[str, dict[str, Any]]:
    """One run for all of the days, as Dagster starts it for a backfill of an asset with this policy."""
    definitions = build_definitions(Settings(lake_uri=lake.root, pii_key="k"))
    keys = [Names().silver(name) for name in tables]
    first, last = START.date().isoformat(), (START + (days - 1) * DAY).date().isoformat()
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=keys,
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
            run_config=dg.RunConfig({"silver": {"config": config}}) if config else None,
        )
    assert result.success
    return {
        event.asset_key.path[-1]: {name: value.value for name, value in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
    }


def test_a_range_of_past_days_is_made_anew_in_one_run(lake: Lake) -> None:
    before = sorted(rows_of(lake, "silver", "deliveries")["activity_id"])
    DeltaTable(lake.uri_of("silver", "deliveries")).delete("activity_id in ('b0-job-1', 'b2-job-0')")
    numbers = materialize(lake, 3)["deliveries"]
    assert sorted(rows_of(lake, "silver", "deliveries")["activity_id"]) == before
    assert {name: numbers[name] for name in ("days_rederived", "days_changed", "rows_rederived", "rows_put_right", "changed_days")} == {
        "days_rederived": 3,
        "days_changed": 2,
        "rows_rederived": 9,
        "rows_put_right": 2,
        "changed_days": "2026-03-01, 2026-03-03",
    }


def test_a_dry_run_changes_nothing(lake: Lake) -> None:
    DeltaTable(lake.uri_of("silver", "deliveries")).delete("activity_id = 'b0-job-1'")
    numbers = materialize(lake, 2, dry_run=True)["deliveries"]
    assert (numbers["days_changed"], numbers["rows_put_right"]) == (1, 1)
    assert rows_of(lake, "silver", "deliveries").height == 8


def test_todays_day_is_made_anew_only_where_it_is_asked_for(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    receive(lake, [bundle(delivered("b1-job", 1))], received_at=datetime.now(UTC))
    flatten_new(lake)
    DeltaTable(lake.uri_of("silver", "deliveries")).delete()
    definitions = build_definitions(Settings(lake_uri=lake.root, pii_key="k"))
    job = definitions.resolve_implicit_global_asset_job_def()
    rows = []
    for config in (None, dg.RunConfig({"silver": {"config": {"rederive": True}}})):
        with dg.DagsterInstance.ephemeral() as instance:
            assert job.execute_in_process(
                instance=instance, asset_selection=[Names().silver("deliveries")], partition_key=today(), run_config=config
            ).success
        rows.append(rows_of(lake, "silver", "deliveries").height)
    assert rows == [0, 1]


def test_gold_follows_for_the_jobs_whose_rows_changed(lake: Lake) -> None:
    deliveries = DeltaTable(lake.uri_of("silver", "deliveries"))
    deliveries.update(updates={"recipient_id": "'7'"}, predicate="request_id = 'b1-job'")
    build(lake, select="job_metrics", as_of=START + 9 * DAY)
    assert one(table(lake, "job_metrics"), request_id="b1-job")["delivered"] == 1
    materialize(lake, 3)
    build(lake, select="job_metrics", as_of=START + 9 * DAY)
    assert one(table(lake, "job_metrics"), request_id="b1-job")["delivered"] == 3
    predicate = str(replaced(lake, "fct_messages"))
    assert ("b1-job" in predicate, "b0-job" in predicate, "b2-job" in predicate) == (True, False, False)


def test_gold_stands_where_nothing_had_to_be_put_right(lake: Lake) -> None:
    build(lake, as_of=START + 9 * DAY)
    stood = versions(lake)
    materialize(lake, 3)
    build(lake, as_of=START + 9 * DAY)
    assert versions(lake) == stood
