"""Table maintenance: a job with an op per layer. It is not an asset, because no row changes.

Bronze and silver are maintained while their writers run: appends do not conflict. Gold's writer replaces rows and would lose against a
rewrite that commits first, so gold's maintenance runs in the writer's pool.
"""

from typing import Any, Final

import dagster as dg
from pydantic import Field

from mg_lakehouse._util.progress import Step
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import RETRY_TRANSIENT, as_failure
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.dagster.run_heartbeats import BEATS_FROM_THE_START
from mg_lakehouse.location import Layer
from mg_lakehouse.maintenance.run import LAYERS, TableReport, maintain
from mg_lakehouse.settings import Settings

__all__ = ["MAINTENANCE_JOB", "MaintenanceConfig", "build_maintenance", "todays_small_files"]

MAINTENANCE_JOB: Final = "maintenance"

_POOLS: Final[dict[Layer, str]] = {"bronze": "maintenance", "silver": "maintenance", "gold": "gold"}


class MaintenanceConfig(dg.Config):
    """Scope of a maintenance run."""

    full: bool = Field(default=True, description="Include closed days, vacuum and logs; otherwise only today's small files.")


def build_maintenance(settings: Settings) -> dg.JobDefinition:
    """Build the job that maintains all tables."""
    names = Names(settings.feed)
    ops = [_op(layer, settings) for layer in LAYERS]

    @dg.job(
        name=names.qualified(MAINTENANCE_JOB),
        executor_def=dg.in_process_executor,
        tags={BEATS_FROM_THE_START: f"{settings.heartbeat_seconds:g}"},
        description="Compact bronze, silver and gold, and remove replaced files, orphans and old log entries.",
    )
    def maintenance() -> None:
        for op in ops:
            op()

    return maintenance


def todays_small_files(names: Names) -> dg.RunConfig:
    """Return the configuration of a run that only merges today's small files."""
    return dg.RunConfig(ops={_name(names, layer): MaintenanceConfig(full=False) for layer in LAYERS})


def _name(names: Names, layer: Layer) -> str:
    return names.qualified(f"maintain_{layer}")


def _op(layer: Layer, settings: Settings) -> dg.OpDefinition:
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dg.op(
        name=_name(names, layer),
        pool=names.pool(_POOLS[layer]),
        required_resource_keys=resources.keys_of_op("lake", "progress"),
        retry_policy=RETRY_TRANSIENT,
        out=dg.Out(dg.Nothing),
        description=f"Compact the tables of {layer} and remove their replaced files, orphans and old log entries.",
    )
    def maintain_layer(context: dg.OpExecutionContext, config: MaintenanceConfig) -> None:
        lake, progress = resources.lake(context), resources.progress(context)
        with as_failure():
            for done, report in enumerate(maintain(lake, settings, layers=(layer,), full=config.full), start=1):
                progress.report(context.log, Step("maintain", done, f"tables, {report.layer}/{report.table}"))
                for note in report.notes:
                    context.log.warning("%s/%s: %s.", report.layer, report.table, note)
                if report.anything:
                    context.log_event(dg.AssetObservation(names.key(report.layer, report.table), metadata=_numbers(report)))

    return maintain_layer


def _numbers(report: TableReport) -> dict[str, Any]:
    return {
        "files": report.files_after,
        "files_before": report.files_before,
        "bytes": report.bytes_after,
        "partitions_merged": report.merged,
        "partitions_sorted": report.sorted,
        "files_removed": report.removed.files,
        "bytes_removed": report.removed.bytes,
    }
