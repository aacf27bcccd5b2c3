"""Stalls: messages wait and nothing is ingested. Finds the cause, and defines the sensor's cursor."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self

import dagster as dg

from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.dagster.internals import InstigatorState, InstigatorStatus, InstigatorType
from mg_lakehouse.dagster.jobs import INGEST_JOB
from mg_lakehouse.dagster.liveness import under_way
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.pools import ago, described, holder_in, holder_of
from mg_lakehouse.dagster.sensors import EVENT_FEED_SENSOR
from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import posted_batches
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import QueueDepth

__all__ = ["LIVENESS_SENSOR", "Cursor", "Stall", "find_stall", "sensor_state"]


LIVENESS_SENSOR: Final = "liveness_sensor"


_HOURLY: Final = timedelta(hours=1)


class Stall(NamedTuple):
    """Why nothing is ingested while messages wait: ``cause`` is stable as long as it lasts, ``text`` is a sentence."""

    cause: str
    text: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """The sensor's state: since when messages have waited, the last cause it reported, and when."""

    waiting_since: str | None = None
    cause: str | None = None
    reported_at: str | None = None

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Parse the sensor's cursor."""
        return cls(**json.loads(text)) if text else cls()

    def text(self) -> str:
        """Return the text of the sensor's cursor."""
        return json.dumps(asdict(self))

    def since(self) -> datetime | None:
        """Return since when messages have waited."""
        return None if self.waiting_since is None else datetime.fromisoformat(self.waiting_since)

    def is_due(self, cause: str | None, now: datetime) -> bool:
        """Whether to report: the cause changed, or the last report is an hour old."""
        return self.reported_at is None or cause != self.cause or now - datetime.fromisoformat(self.reported_at) >= _HOURLY


def find_stall(
    instance: dg.DagsterInstance, names: Names, lake: Lake, settings: Settings, *, depth: QueueDepth, waiting_since: datetime | None
) -> Stall | None:
    """Find why nothing was ingested for ``MG_STALLED_MINUTES`` while messages wait; ``None`` if something was, or none wait."""
    if depth.visible == 0 or waiting_since is None:
        return None
    now = datetime.now(UTC)
    committed = _committed(lake)
    known = [] if isinstance(committed, LakehouseError) else committed
    last = max([waiting_since, *known, *_succeeded(instance, names.qualified(INGEST_JOB))])
    if now - last < timedelta(minutes=settings.stalled_minutes):
        return None
    # What keeps us from reading the lake keeps an ingest from it too.
    cause, why = ("lake", str(committed)) if isinstance(committed, LakehouseError) else _why(instance, names, now)
    return Stall(cause, f"{depth.visible:,} messages wait, and nothing was ingested for {ago(now - last)}. {why}")


def _committed(lake: Lake) -> list[datetime] | LakehouseError:
    try:
        bronze = lake.open(EVENT_FEED.layer, EVENT_FEED.name)
        newest = None if bronze is None else next(posted_batches(bronze), None)
    except LakehouseError as error:
        return error
    return [] if newest is None else [newest.committed_at]


def _succeeded(instance: dg.DagsterInstance, job: str) -> list[datetime]:
    records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1)
    return [datetime.fromtimestamp(record.end_time, UTC) for record in records if record.end_time is not None]


def _why(instance: dg.DagsterInstance, names: Names, now: datetime) -> tuple[str, str]:
    """Return the cause, and a sentence about it."""
    record = under_way(instance, names.qualified(INGEST_JOB))
    if record is not None:
        run = record.dagster_run
        queued = run.status == dg.DagsterRunStatus.QUEUED
        holder = holder_in(instance, names.pool("bronze")) if queued else holder_of(instance, names, run.run_id)
        if holder is not None:
            return f"behind {holder.run_id}", f"An ingest is queued behind another run. {holder}"
        age = ago(now - record.create_timestamp)
        if queued:
            return (
                f"queued {run.run_id}",
                f"{described(run)} has been in Dagster's queue for {age}: see what runs, and whether the daemon launches runs.",
            )
        return f"slow {run.run_id}", f"{described(run)} has been under way for {age} and commits nothing: see its log, or end it."
    state = sensor_state(instance, names.qualified(EVENT_FEED_SENSOR))
    if state is not None and state.status == InstigatorStatus.STOPPED:
        return "sensor stopped", f"The sensor {names.qualified(EVENT_FEED_SENSOR)} is stopped: start it in the UI."
    records = instance.get_run_records(dg.RunsFilter(job_name=names.qualified(INGEST_JOB)), limit=1)
    if records and records[0].dagster_run.status != dg.DagsterRunStatus.SUCCESS:
        run = records[0].dagster_run
        return (
            f"failed {run.status.value}",
            f"The last ingest, {described(run)}, ended as {run.status.value.lower()}. {_failure(instance, run)}",
        )
    return "none", f"No ingest was started: see the ticks of {names.qualified(EVENT_FEED_SENSOR)}."


def _failure(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Return our own sentence about a failed step. Other errors may contain anything; they are in the run's log."""
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        failure = entry.dagster_event.step_failure_data.user_failure_data if entry.dagster_event is not None else None
        if failure is not None and failure.description:
            return failure.description
    return "See its log."


def sensor_state(instance: dg.DagsterInstance, sensor: str) -> InstigatorState | None:
    """Return the instance's state of a sensor: ``None`` if the sensor runs by default and never ticked."""
    if instance.schedule_storage is None:
        return None
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    return next((state for state in states if state.instigator_name == sensor), None)
