"""A Dagster home with a configuration, and runs and places put into its storage as those who died left them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Final

import dagster as dg

from mg_lakehouse.dagster.run_heartbeats import BEATS_FROM_THE_START, RunHeartbeat, RunHeartbeats

__all__ = ["OURS", "PACKAGED", "POOLS_ONLY", "add_run", "beat_ago", "hearts_of", "holder", "home", "take"]

PACKAGED: Final = files("mg_lakehouse").joinpath("dagster.yaml").read_text()
POOLS_ONLY: Final = (
    "concurrency: {pools: {default_limit: 1, granularity: op}}\nrun_monitoring: {enabled: true}\ntelemetry: {enabled: false}\n"
)
"""What homes of before have."""

OURS: Final = {BEATS_FROM_THE_START: "5"}


@contextmanager
def home(folder: Path, config: str = PACKAGED) -> Iterator[dg.DagsterInstance]:
    """An instance with this ``dagster.yaml``, in SQLite files."""
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text(config)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def add_run(
    instance: dg.DagsterInstance,
    job: str = "ingest",
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
    tags: dict[str, str] | None = None,
) -> str:
    """Id of a run that stands in the storage and has no process."""
    return instance.add_run(dg.DagsterRun(job_name=job, status=status, tags=tags or {})).run_id


def take(instance: dg.DagsterInstance, pool: str, run_id: str) -> bool:
    """Have a run ask for the place in a pool; whether it got it."""
    storage = instance.event_log_storage
    if pool not in {limit.name for limit in storage.get_pool_limits()}:
        storage.initialize_concurrency_limit_to_default(pool)
    return bool(storage.claim_concurrency_slot(pool, run_id, "step").is_claimed)


def holder(instance: dg.DagsterInstance, pool: str) -> str | None:
    """Id of the run that has the place in a pool."""
    claimed = instance.event_log_storage.get_concurrency_info(pool).claimed_slots
    return claimed[0].run_id if claimed else None


def hearts_of(instance: dg.DagsterInstance) -> RunHeartbeats:
    found = RunHeartbeats.of_instance(instance)
    assert found is not None
    return found


def beat_ago(instance: dg.DagsterInstance, run_id: str, seconds: float, *, asked: float | None = None, resting: bool = False) -> None:
    """Leave a heart that beat every 5 s and last so long ago, and was asked so long ago."""
    hearts = hearts_of(instance)
    now = hearts.now()
    asked_at = None if asked is None else now - timedelta(seconds=asked)
    heart = RunHeartbeat(run_id, 5.0, beat=now - timedelta(seconds=seconds), asked=asked_at, resting=resting)
    assert hearts.put(hearts.all().get(run_id), heart)
