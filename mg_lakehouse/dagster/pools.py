"""The pools of a feed: which runs hold a slot, which wait for one, and the sentences about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.run_heartbeats import SILENT_BEATS, RunHeartbeats

__all__ = ["POOLS", "Holder", "Places", "ago", "described", "holder_in", "holder_of", "places"]

POOLS: Final = ("bronze", "activity", "silver", "gold", "maintenance", "reconciliation")


@dataclass(frozen=True, slots=True)
class Places:
    """The runs in a feed's pools. ``blocking``: ids of runs that hold a slot or get the next one. ``all``: those and all that wait."""

    blocking: frozenset[str] = field(default_factory=frozenset)
    all: frozenset[str] = field(default_factory=frozenset)


def places(instance: dg.DagsterInstance, names: Names) -> Places:
    """Return the runs in the pools of a feed."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return Places()
    infos = storage.get_concurrency_infos([names.pool(pool) for pool in POOLS]).values()
    claimed = {slot.run_id for info in infos for slot in info.claimed_slots}
    pending = [step for info in infos for step in info.pending_steps]
    blocking = claimed | {step.run_id for step in pending if step.assigned_timestamp is not None}
    return Places(frozenset(blocking), frozenset(blocking | {step.run_id for step in pending}))


@dataclass(frozen=True, slots=True)
class Holder:
    """The run that holds the pool that another waits for, how long it has run, and how long its heart has been silent."""

    pool: str
    run: dg.DagsterRun | None
    run_id: str
    running: timedelta | None
    silent: timedelta | None

    def __str__(self) -> str:
        who = f"Run {self.run_id[:8]}" if self.run is None else described(self.run)
        since = f", which has been running for {ago(self.running)}," if self.running is not None else ""
        silent = f" Its heart stopped {ago(self.silent)} ago." if self.silent is not None else ""
        return f"{who}{since} holds {self.pool}.{silent}"


def holder_of(instance: dg.DagsterInstance, names: Names, waiting: str) -> Holder | None:
    """Return the holder of the pool that the run ``waiting`` waits for; ``None`` if it waits for none."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return None
    infos = storage.get_concurrency_infos([names.pool(pool) for pool in POOLS])
    for pool, info in infos.items():
        claimed = [slot.run_id for slot in info.claimed_slots]
        if waiting not in claimed and any(step.run_id == waiting for step in info.pending_steps):
            assigned = [step.run_id for step in info.pending_steps if step.assigned_timestamp is not None]
            holders = [run_id for run_id in (*claimed, *assigned) if run_id != waiting]
            return _holder(instance, pool, holders[0]) if holders else None
    return None


def holder_in(instance: dg.DagsterInstance, pool: str) -> Holder | None:
    """Return the holder of a pool. A run in Dagster's queue waits for it, but is not among the pool's pending steps yet."""
    if not instance.event_log_storage.supports_global_concurrency_limits:
        return None
    claimed = instance.event_log_storage.get_concurrency_info(pool).claimed_slots
    return _holder(instance, pool, claimed[0].run_id) if claimed else None


def _holder(instance: dg.DagsterInstance, pool: str, run_id: str) -> Holder:
    record, hearts = instance.get_run_record_by_id(run_id), RunHeartbeats.of_instance(instance)
    running = None
    if record is not None and record.start_time is not None and not record.dagster_run.is_finished:
        running = datetime.now(UTC) - datetime.fromtimestamp(record.start_time, UTC)
    heart = None if hearts is None else hearts.all().get(run_id)
    silent = None
    if hearts is not None and heart is not None and heart.beat is not None and not heart.resting:
        silence = hearts.now() - heart.beat
        silent = silence if silence > SILENT_BEATS * timedelta(seconds=heart.every) else None
    return Holder(pool, None if record is None else record.dagster_run, run_id, running, silent)


def described(run: dg.DagsterRun) -> str:
    """Describe a run in a sentence: the id as the UI shows it, and the job, if it has a name."""
    job = "chosen assets" if run.job_name.startswith("__") else run.job_name
    return f"Run {run.run_id[:8]} ({job})"


def ago(age: timedelta) -> str:
    """Format a length of time for a sentence."""
    seconds = max(0, round(age.total_seconds()))
    if seconds < 90:
        return f"{seconds} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 90 else f"{round(minutes / 60)} hours"
