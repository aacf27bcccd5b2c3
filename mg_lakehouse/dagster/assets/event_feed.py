"""The queue as an external asset, and the bronze asset that drains it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from mg_lakehouse._util.progress import Step, on_remark, remark
from mg_lakehouse.bronze.event_feed import DrainReport, committed_earlier, drain
from mg_lakehouse.bronze.tables import BRONZE_COLUMNS
from mg_lakehouse.dagster.interrupts import defer_signals
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import RECEIVED_DATE, today
from mg_lakehouse.dagster.reporting import OWNERS, RETRY_TRANSIENT, as_failure, column_schema, opened_metadata
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.dagster.unreported import unreported_since
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.settings import Settings

__all__ = ["DrainConfig", "build_event_feed", "queue_spec"]


class DrainConfig(dg.Config):
    """Budget of one drain. By default it ends when it has received as many messages as waited at its start."""

    max_messages: int | None = Field(default=None, ge=1, description="Receive no more messages than this.")
    max_seconds: float | None = Field(default=None, gt=0, description="Receive no longer than this, in seconds; by default MG_MAX_SECONDS.")
    until_empty: bool = Field(default=False, description="Receive until the queue is empty, however much arrives meanwhile.")


def queue_spec(settings: Settings) -> dg.AssetSpec:
    """The queue, which MessageGears fills: an external asset."""
    names = Names(settings.feed)
    return dg.AssetSpec(
        names.queue,
        description="The Amazon SQS queue that MessageGears sends its event feed to: small XML bundles, at least once, in no order.",
        group_name=names.group("messagegears"),
        kinds={"sqs"},
        owners=list(OWNERS),
        metadata={"queue": settings.queue_url or "not set: MG_QUEUE_URL"},
    )


def build_event_feed(settings: Settings) -> dg.AssetsDefinition:
    """The asset ``bronze/event_feed``."""
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dg.asset(
        key=names.event_feed,
        deps=[names.queue],
        partitions_def=RECEIVED_DATE,
        # A past day cannot be received again: a backfill of bronze would start a run per day and change nothing.
        backfill_policy=dg.BackfillPolicy.single_run(),
        description="Messages of the event feed as received, one row per message id. Only today's partition can be materialized: "
        "a past day cannot be received again.",
        group_name=names.group("bronze"),
        kinds={"deltalake", "sqs"},
        owners=list(OWNERS),
        metadata={"dagster/column_schema": column_schema(BRONZE_COLUMNS["event_feed"])},
        pool=names.pool("bronze"),
        required_resource_keys=resources.keys_of_op("lake", "event_feed", "progress"),
        retry_policy=RETRY_TRANSIENT,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=24), warn_window=timedelta(hours=6)),
    )
    def event_feed(context: dg.AssetExecutionContext, config: DrainConfig) -> dg.MaterializeResult[Any]:
        if context.partition_keys[-1] != today():
            note = f"A past day cannot be received again; nothing was changed. Materialize {today()} to drain the queue."
            context.log.warning(note)
            return dg.MaterializeResult(metadata={"note": note})
        with as_failure():
            queue, lake, progress = resources.queue(context, settings), resources.lake(context), resources.progress(context)
            unreported = unreported_since(context, names.event_feed)
            bronze = None if unreported is None else lake.open("bronze", "event_feed")
            # A stopped run finishes its current commit, deletes what is committed and releases the rest.
            with defer_signals() as stop, on_remark(context.log.info):
                report = drain(
                    queue,
                    lake,
                    settings,
                    max_messages=config.max_messages,
                    max_seconds=config.max_seconds,
                    until_empty=config.until_empty,
                    stop=stop,
                    progress=lambda so_far: progress.report(context.log, Step("bronze", so_far.received, "messages received")),
                )
                if (left := _left_for_their_checksum(report)) is not None:
                    context.log.warning(left)
                    remark(left)
            if unreported is not None and bronze is not None:
                report = report.plus(committed_earlier(lake, unreported, bronze.version()))
            room = {"in_flight_head_room": queue.depth().head_room}
            return dg.MaterializeResult(
                metadata={
                    **_numbers(report),
                    **room,
                    **opened_metadata(lake, "bronze", "event_feed"),
                }
            )

    return event_feed


def _left_for_their_checksum(report: DrainReport) -> str | None:
    """Say how many bodies were refused; ``None`` if none was.

    Raises:
        PermanentError: all were. A try that follows would find an empty queue, for they are hidden, and succeed.
    """
    if not report.corrupted:
        return None
    left = f"{report.corrupted:,} bodies did not match SQS's checksum, and their messages were left in the queue"
    if not report.received:
        raise PermanentError(f"{left}; no other came. Something on the way changes them: check proxies and AWS_ENDPOINT_URL.")
    return f"{left}: they come again."


def _numbers(report: DrainReport) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "messages_received": report.received,
        "messages_new": report.new,
        "messages_already_in_bronze": report.already,
        "messages_deleted": report.deleted,
        "delete_failures": report.delete_failures,
        "checksum_mismatches": report.corrupted,
        "commits": report.commits,
        "bytes": report.bytes,
    }
    if report.first_sent_at and report.last_sent_at:
        numbers["first_sent_at"] = dg.MetadataValue.timestamp(report.first_sent_at)
        numbers["last_sent_at"] = dg.MetadataValue.timestamp(report.last_sent_at)
        numbers["oldest_message_seconds"] = round((datetime.now(UTC) - report.first_sent_at).total_seconds(), 1)
    if report.least_margin_seconds is not None:
        numbers["least_visibility_margin_seconds"] = round(report.least_margin_seconds, 1)
    return numbers
