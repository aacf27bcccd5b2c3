"""The check ``queue_lost_nothing``: the queue delivered every event of the daily files."""

from collections.abc import Sequence
from typing import Any, Final

import dagster as dg

from mg_lakehouse.audit.queue_coverage import Compared, compare_with_queue
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.dagster.assets.vendor_totals import DaysConfig, requested_days
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import as_failure
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.progress import unflattened

__all__ = ["build_comparison"]


def build_comparison(settings: Settings) -> dg.AssetChecksDefinition:
    """Build the check ``queue_lost_nothing``. It warns and blocks nothing."""
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dg.asset_check(
        name=names.queue_lost_nothing.name,
        asset=names.account_activity,
        additional_deps=[names.silver(table) for table in silver_tables()],
        required_resource_keys=resources.keys_of_op("lake"),
        description="The queue delivered every event of the daily files. The report counts events that only one of the two had, by day and type.",
    )
    def queue_lost_nothing(context: dg.AssetCheckExecutionContext, config: DaysConfig) -> dg.AssetCheckResult:
        lake = resources.lake(context)
        with as_failure():
            days = requested_days(config, settings)
            waiting = sum(unflattened(lake, source) for source in BRONZE_TABLES)
            files = list(compare_with_queue(lake, settings, days))
        return _result(files, waiting)

    return queue_lost_nothing


def _result(files: Sequence[Compared], waiting: int) -> dg.AssetCheckResult:
    lost = sum(file.only_file for file in files)
    message: str | None = None
    if waiting:
        message = f"{waiting} commits of bronze are not flattened yet: their events count as missing."
    elif not files:
        message = "Bronze has no file of these days."
    elif lost:
        message = f"{lost:,} events of {len(files)} files came from the files only."
    numbers: dict[str, Any] = {
        "files": len(files),
        "events_in_files": sum(file.in_file for file in files),
        "events_in_both": sum(file.in_both for file in files),
        "events_only_in_files": lost,
        "events_only_from_queue": sum(file.only_queue or 0 for file in files),
        "by_day_and_type": dg.MetadataValue.table([dg.TableRecord(_record(file)) for file in files], schema=_SCHEMA),
    }
    return dg.AssetCheckResult(passed=message is None, severity=dg.AssetCheckSeverity.WARN, description=message, metadata=numbers)


_SCHEMA: Final = dg.TableSchema(
    columns=[
        dg.TableColumn("day"),
        dg.TableColumn("type"),
        *(dg.TableColumn(name, "int") for name in ("in_file", "in_both", "only_file", "only_queue")),
    ]
)


def _record(compared: Compared) -> dict[str, str | int | float | bool | None]:
    return {
        "day": compared.day.isoformat(),
        "type": compared.activity_type,
        "in_file": compared.in_file,
        "in_both": compared.in_both,
        "only_file": compared.only_file,
        "only_queue": compared.only_queue,
    }
