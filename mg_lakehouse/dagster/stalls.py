"""The check ``messages_are_ingested``, and the sensor that looks whether the pipeline lives.

Where nothing ingests, no run would evaluate a check: the sensor does, and stores it without a run, when the outcome changes and once an hour.
The same sensor has dead runs ended, also where somebody stopped the others, and has gold built again where its run was killed and nobody else
does.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, SensorInstigatorData

from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.dagster.jobs import GOLD_JOB, INGEST_JOB
from mg_lakehouse.dagster.liveness import end_dead_runs, missing_monitoring, under_way
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.pools import ago, described, holder_in, holder_of
from mg_lakehouse.dagster.reporting import as_failure
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.dagster.sensors import EVENT_FEED_SENSOR
from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import posted_batches
from mg_lakehouse.serving.alerts import Alert
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import QueueDepth

__all__ = ["LIVENESS_SENSOR", "Stall", "build_liveness_sensor", "build_stall_check", "find_stall", "run_to_repeat"]

LIVENESS_SENSOR: Final = "liveness_sensor"

_HOURLY: Final = timedelta(hours=1)
_OWN_FAILURES: Final = frozenset({"STEP_FAILURE", "RUN_EXCEPTION", "JOB_INITIALIZATION_FAILURE"})
"""Reasons of Dagster's that lie in the run: it would fail again."""


class Stall(NamedTuple):
    """Why nothing is ingested while messages wait: ``cause`` stays the same while it lasts, ``text`` is a sentence."""

    cause: str
    text: str


@dataclass(frozen=True, slots=True)
class _Cursor:
    """What the sensor remembers: since when messages have waited, and what it reported last, when."""

    waiting_since: str | None = None
    cause: str | None = None
    reported_at: str | None = None

    @classmethod
    def of(cls, text: str | None) -> Self:
        return cls(**json.loads(text)) if text else cls()

    def text(self) -> str:
        return json.dumps(asdict(self))

    def since(self) -> datetime | None:
        return None if self.waiting_since is None else datetime.fromisoformat(self.waiting_since)

    def is_due(self, cause: str | None, now: datetime) -> bool:
        """Whether an outcome is worth a row: it changed, or the last is an hour old."""
        return self.reported_at is None or cause != self.cause or now - datetime.fromisoformat(self.reported_at) >= _HOURLY


def find_stall(
    instance: dg.DagsterInstance, names: Names, lake: Lake, settings: Settings, *, depth: QueueDepth, waiting_since: datetime | None
) -> Stall | None:
    """Why nothing has been ingested for ``MG_STALLED_MINUTES`` while messages wait; ``None`` where it has, or none do."""
    if depth.visible == 0 or waiting_since is None:
        return None
    now = datetime.now(UTC)
    committed = _committed(lake)
    known = [] if isinstance(committed, LakehouseError) else committed
    last = max([waiting_since, *known, *_succeeded(instance, names.of(INGEST_JOB))])
    if now - last < timedelta(minutes=settings.stalled_minutes):
        return None
    # What keeps us from the lake keeps an ingest too.
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
    """The cause, and a sentence on it."""
    record = under_way(instance, names.of(INGEST_JOB))
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
    state = _sensor_state(instance, names.of(EVENT_FEED_SENSOR))
    if state is not None and state.status == InstigatorStatus.STOPPED:
        return "sensor stopped", f"The sensor {names.of(EVENT_FEED_SENSOR)} is stopped: start it in the UI."
    records = instance.get_run_records(dg.RunsFilter(job_name=names.of(INGEST_JOB)), limit=1)
    if records and records[0].dagster_run.status != dg.DagsterRunStatus.SUCCESS:
        run = records[0].dagster_run
        return (
            f"failed {run.status.value}",
            f"The last ingest, {described(run)}, ended as {run.status.value.lower()}. {_failure(instance, run)}",
        )
    return "none", f"No ingest was started: see the ticks of {names.of(EVENT_FEED_SENSOR)}."


def _failure(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Our own sentence on a failed step; what others say may hold anything, and is in the run's log."""
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        said = entry.dagster_event.step_failure_data.user_failure_data if entry.dagster_event is not None else None
        if said is not None and said.description:
            return said.description
    return "See its log."


def _sensor_state(instance: dg.DagsterInstance, sensor: str) -> InstigatorState | None:
    """What the instance knows of a sensor: nothing where it runs by default and never ticked."""
    if instance.schedule_storage is None:
        return None
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    return next((state for state in states if state.instigator_name == sensor), None)


def build_stall_check(settings: Settings) -> dg.AssetChecksDefinition:
    """The check, for a click: by itself it is evaluated by the sensor."""
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dg.asset_check(
        name=names.messages_are_ingested.name,
        asset=names.event_feed,
        required_resource_keys=resources.keys_of_op("event_feed", "lake"),
        description=f"No message waits for {settings.stalled_minutes:g} minutes while nothing is ingested. Evaluated by {names.of(LIVENESS_SENSOR)}.",
    )
    def messages_are_ingested(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        state = _sensor_state(context.instance, names.of(LIVENESS_SENSOR))
        remembered = state.instigator_data.cursor if state is not None and isinstance(state.instigator_data, SensorInstigatorData) else None
        with as_failure():
            depth = resources.queue(context, settings).depth()
            stall = find_stall(
                context.instance, names, resources.lake(context), settings, depth=depth, waiting_since=_Cursor.of(remembered).since()
            )
        return dg.AssetCheckResult(passed=stall is None, severity=dg.AssetCheckSeverity.ERROR, **_said(stall, depth, context.instance))

    return messages_are_ingested


def _said(stall: Stall | None, depth: QueueDepth, instance: dg.DagsterInstance) -> dict[str, Any]:
    alerts = [] if stall is None else [Alert("error", stall.cause, stall.text)._asdict()]
    metadata: dict[str, Any] = {"messages_waiting": depth.visible, "alerts": dg.MetadataValue.json(alerts)}
    if (lacking := missing_monitoring(instance)) is not None:
        metadata["instance"] = dg.MetadataValue.text(lacking)
    return {"description": None if stall is None else stall.text, "metadata": metadata}


def build_liveness_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor ``liveness_sensor``."""
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dg.sensor(
        name=names.of(LIVENESS_SENSOR),
        job_name=names.of(GOLD_JOB),
        required_resource_keys=resources.keys("event_feed", "lake"),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends runs whose heart stopped, has gold built again where its run was killed, and says where messages wait and nothing ingests.",
    )
    def liveness_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        said = end_dead_runs(context.instance, names)
        try:
            said.append(_look(context, names, resources, settings))
        except LakehouseError as error:
            said.append(str(error))
        killed = run_to_repeat(context.instance, names)
        for sentence in said:
            context.log.info(sentence)
        if killed is None:
            return dg.SkipReason(" ".join(said))
        return dg.RunRequest(run_key=f"again {killed.run_id}")

    return liveness_sensor


def _look(context: dg.SensorEvaluationContext, names: Names, resources: FeedResources, settings: Settings) -> str:
    """Look at the queue and report; a sentence on it."""
    depth, now, cursor = resources.queue(context, settings).depth(), datetime.now(UTC), _Cursor.of(context.cursor)
    since = None if depth.visible == 0 else (cursor.since() or now)
    stall = find_stall(context.instance, names, resources.lake(context), settings, depth=depth, waiting_since=since)
    cause, reported = (None if stall is None else stall.cause), cursor.reported_at
    if cursor.is_due(cause, now):
        said, key = _said(stall, depth, context.instance), names.messages_are_ingested
        context.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key.asset_key, check_name=key.name, passed=stall is None, severity=dg.AssetCheckSeverity.ERROR, **said
            )
        )
        reported = now.isoformat()
    context.update_cursor(_Cursor(None if since is None else since.isoformat(), cause, reported).text())
    return stall.text if stall is not None else f"{depth.visible:,} messages wait, and what is to be ingested is."


def run_to_repeat(instance: dg.DagsterInstance, names: Names) -> dg.DagsterRun | None:
    """The newest run of gold, where it was killed and Dagster does not try it again. The automation has handled what it was asked for."""
    planned = instance.event_log_storage.get_latest_planned_materialization_info(names.gold("fct_messages"))
    run = None if planned is None else instance.get_run_by_id(planned.run_id)
    if run is None or run.status != dg.DagsterRunStatus.FAILURE or run.tags.get("dagster/failure_reason") in _OWN_FAILURES:
        return None
    retried = run.tags.get("dagster/will_retry") == "true" and run.remote_job_origin is not None
    return None if retried else run
