"""The sensors that watch the queue and bronze, and start runs.

The queue's sensor makes one ``GetQueueAttributes`` call, no receive and no delete, so previewing a tick in the UI takes no message. Runs have
no ``run_key``, which would de-duplicate for ever. :func:`decide`, a pure function, decides on an ingest. Each sensor first ends dead runs, so
that the runs under way are alive.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import dagster as dg

from mg_lakehouse.bronze.tables import BRONZE_TABLES, EVENT_FEED
from mg_lakehouse.dagster.assets.silver import only_new
from mg_lakehouse.dagster.jobs import FLATTEN_JOB, INGEST_JOB
from mg_lakehouse.dagster.liveness import end_dead_runs, under_way
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import today
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.progress import unflattened
from mg_lakehouse.sources.sqs import QueueDepth

__all__ = ["EVENT_FEED_SENSOR", "Decision", "build_daily_files_sensor", "build_event_feed_sensor", "decide"]

EVENT_FEED_SENSOR: Final = "event_feed_sensor"


class Decision(NamedTuple):
    """Whether to start an ingest, and why: a sentence with the numbers."""

    start: bool
    reason: str


def decide(depth: QueueDepth, *, running: bool, seconds_since_last: float | None, settings: Settings) -> Decision:
    """Decide on an ingest.

    Args:
        depth: what the queue holds.
        running: whether an ingest is queued, starting or running.
        seconds_since_last: age of the last ingest's start; ``None`` if there was none.
        settings: the thresholds.
    """
    waiting = f"{depth.visible:,} messages wait, {depth.in_flight:,} are in flight"
    if running:
        return Decision(start=False, reason=f"An ingest is under way; {waiting}.")
    if depth.visible == 0:
        return Decision(start=False, reason=f"Nothing to do: {waiting}.")
    if depth.visible >= settings.sensor_messages:
        return Decision(start=True, reason=f"{waiting}; {settings.sensor_messages:,} start an ingest at once.")
    if seconds_since_last is None or seconds_since_last >= settings.sensor_seconds:
        return Decision(start=True, reason=f"{waiting}; {settings.sensor_seconds:g} s have passed since the last ingest.")
    return Decision(
        start=False,
        reason=f"{waiting}; an ingest starts at {settings.sensor_messages:,} messages or {settings.sensor_seconds:g} s after the last, "
        f"which was {seconds_since_last:.0f} s ago.",
    )


def build_event_feed_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor ``event_feed_sensor``."""
    names = Names(settings.feed)
    resources, ingest = FeedResources(names), names.qualified(INGEST_JOB)

    @dg.sensor(
        name=names.qualified(EVENT_FEED_SENSOR),
        job_name=ingest,
        required_resource_keys=resources.keys("event_feed"),
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Watches the event feed's queue and starts an ingest when enough messages wait. Receives and deletes nothing.",
    )
    def event_feed_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if ended := end_dead_runs(context.instance, names):
            return _ended(context, ended)
        try:
            depth = resources.queue(context, settings).depth()
        except LakehouseError as error:
            return dg.SkipReason(str(error))
        decision = decide(
            depth,
            running=under_way(context.instance, ingest) is not None,
            seconds_since_last=_seconds_since_last(context.instance, ingest),
            settings=settings,
        )
        context.log.info(decision.reason)
        return _run_of_today(names) if decision.start else dg.SkipReason(decision.reason)

    return event_feed_sensor


def build_daily_files_sensor(names: Names) -> dg.SensorDefinition:
    """The sensor ``daily_files_sensor``: flattens daily and loaded files that no ingest flattened, even if no queue is set."""
    resources = FeedResources(names)

    @dg.sensor(
        name=names.qualified("daily_files_sensor"),
        job_name=names.qualified(FLATTEN_JOB),
        required_resource_keys=resources.keys("lake"),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Watches bronze for daily and loaded files that silver lacks, and starts a run to flatten them.",
    )
    def daily_files_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if ended := end_dead_runs(context.instance, names):
            return _ended(context, ended)
        if any(under_way(context.instance, names.qualified(job)) for job in (INGEST_JOB, FLATTEN_JOB)):
            return dg.SkipReason("A run that flattens is under way.")
        try:
            waiting = sum(unflattened(resources.lake(context), source) for source in BRONZE_TABLES if source != EVENT_FEED.name)
        except LakehouseError as error:
            return dg.SkipReason(str(error))
        return _run_of_today(names) if waiting else dg.SkipReason("Silver has all files that bronze has.")

    return daily_files_sensor


def _run_of_today(names: Names) -> dg.RunRequest:
    """Request a run that flattens new commits and rebuilds no day, however late it starts."""
    return dg.RunRequest(partition_key=today(), run_config=dg.RunConfig(ops=only_new(names)))


def _ended(context: dg.SensorEvaluationContext, sentences: Sequence[str]) -> dg.SkipReason:
    """Skip this tick: Dagster's own retries, if on, come before the next tick, which otherwise starts the work."""
    for sentence in sentences:
        context.log.warning(sentence)
    return dg.SkipReason(" ".join(sentences))


def _seconds_since_last(instance: dg.DagsterInstance, job: str) -> float | None:
    records = instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)
    return (datetime.now(UTC) - records[0].create_timestamp).total_seconds() if records else None
