"""The check ``messages_are_ingested``: no message waits while nothing is ingested."""

from typing import Any

import dagster as dg

from mg_lakehouse.dagster.internals import SensorInstigatorData
from mg_lakehouse.dagster.liveness import missing_monitoring
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import as_failure
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.dagster.stalls import LIVENESS_SENSOR, Cursor, Stall, find_stall, sensor_state
from mg_lakehouse.serving.alerts import Alert
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import QueueDepth

__all__ = ["build_stall_check", "stall_result"]


def build_stall_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Build the check for a click. The sensor evaluates it otherwise."""
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dg.asset_check(
        name=names.messages_are_ingested.name,
        asset=names.event_feed,
        required_resource_keys=resources.keys_of_op("event_feed", "lake"),
        description=f"No message waits for {settings.stalled_minutes:g} minutes while nothing is ingested. Evaluated by {names.qualified(LIVENESS_SENSOR)}.",
    )
    def messages_are_ingested(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        state = sensor_state(context.instance, names.qualified(LIVENESS_SENSOR))
        cursor = state.instigator_data.cursor if state is not None and isinstance(state.instigator_data, SensorInstigatorData) else None
        with as_failure():
            depth = resources.queue(context, settings).depth()
            stall = find_stall(
                context.instance, names, resources.lake(context), settings, depth=depth, waiting_since=Cursor.parse(cursor).since()
            )
        return dg.AssetCheckResult(
            passed=stall is None, severity=dg.AssetCheckSeverity.ERROR, **stall_result(stall, depth, context.instance)
        )

    return messages_are_ingested


def stall_result(stall: Stall | None, depth: QueueDepth, instance: dg.DagsterInstance) -> dict[str, Any]:
    """Return description and metadata of the check's result, for a click and for the sensor."""
    alerts = [] if stall is None else [Alert("error", stall.cause, stall.text)._asdict()]
    metadata: dict[str, Any] = {"messages_waiting": depth.visible, "alerts": dg.MetadataValue.json(alerts)}
    if (lacking := missing_monitoring(instance)) is not None:
        metadata["instance"] = dg.MetadataValue.text(lacking)
    return {"description": None if stall is None else stall.text, "metadata": metadata}
