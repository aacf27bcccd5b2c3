"""The sensor ``liveness_sensor``: it ends dead runs, reports stalls, and requests gold again if its run was killed."""

from datetime import UTC, datetime
from typing import Final

import dagster as dg

from mg_lakehouse.dagster.checks.ingestion import stall_result
from mg_lakehouse.dagster.jobs import GOLD_JOB
from mg_lakehouse.dagster.liveness import end_dead_runs
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.dagster.stalls import LIVENESS_SENSOR, Cursor, find_stall
from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.gold.contract import FCT_MESSAGES
from mg_lakehouse.settings import Settings

__all__ = ["build_liveness_sensor", "run_to_repeat"]


_OWN_FAILURES: Final = frozenset({"STEP_FAILURE", "RUN_EXCEPTION", "JOB_INITIALIZATION_FAILURE"})
"""Dagster's failure reasons that lie in the run itself: it would fail again."""


def build_liveness_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor ``liveness_sensor``."""
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dg.sensor(
        name=names.qualified(LIVENESS_SENSOR),
        job_name=names.qualified(GOLD_JOB),
        required_resource_keys=resources.keys("event_feed", "lake"),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends runs whose heart stopped, requests gold again if its run was killed, and reports if messages wait and nothing ingests.",
    )
    def liveness_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        sentences = end_dead_runs(context.instance, names)
        try:
            sentences.append(_look(context, names, resources, settings))
        except LakehouseError as error:
            sentences.append(str(error))
        killed = run_to_repeat(context.instance, names)
        for sentence in sentences:
            context.log.info(sentence)
        if killed is None:
            return dg.SkipReason(" ".join(sentences))
        return dg.RunRequest(run_key=f"again {killed.run_id}")

    return liveness_sensor


def _look(context: dg.SensorEvaluationContext, names: Names, resources: FeedResources, settings: Settings) -> str:
    """Check the queue for a stall and report it. Return a sentence."""
    depth, now, cursor = resources.queue(context, settings).depth(), datetime.now(UTC), Cursor.parse(context.cursor)
    since = None if depth.visible == 0 else (cursor.since() or now)
    stall = find_stall(context.instance, names, resources.lake(context), settings, depth=depth, waiting_since=since)
    cause, reported = (None if stall is None else stall.cause), cursor.reported_at
    if cursor.is_due(cause, now):
        result, key = stall_result(stall, depth, context.instance), names.messages_are_ingested
        context.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key.asset_key, check_name=key.name, passed=stall is None, severity=dg.AssetCheckSeverity.ERROR, **result
            )
        )
        reported = now.isoformat()
    context.update_cursor(Cursor(None if since is None else since.isoformat(), cause, reported).text())
    return stall.text if stall is not None else f"{depth.visible:,} messages wait; ingestion is not stalled."


def run_to_repeat(instance: dg.DagsterInstance, names: Names) -> dg.DagsterRun | None:
    """Return gold's newest run if it was killed and Dagster does not retry it. The automation counts its request as handled."""
    planned = instance.event_log_storage.get_latest_planned_materialization_info(names.gold(FCT_MESSAGES))
    run = None if planned is None else instance.get_run_by_id(planned.run_id)
    if run is None or run.status != dg.DagsterRunStatus.FAILURE or run.tags.get("dagster/failure_reason") in _OWN_FAILURES:
        return None
    retried = run.tags.get("dagster/will_retry") == "true" and run.remote_job_origin is not None
    return None if retried else run
