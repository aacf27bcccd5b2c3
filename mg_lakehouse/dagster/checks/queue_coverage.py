"""The check ``queue_lost_nothing``: no event of the daily files came by them alone."""

from collections.abc import Sequence
from typing import Any, Final

import dagster as dg

from mg_lakehouse.audit.queue_coverage import Compared, compare_with_queue
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.dagster.assets.vendor_totals import DaysConfig, asked_range
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import as_failure
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.progress import unflattened

__all__ = ["build_comparison"]


def build_comparison(settings: Settings) -> dg.AssetChecksDefinition:
    """The check ``queue_lost_nothing``: no event of the files came by them alone. It warns, and blocks nothing."""
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dg.asset_check(
        name=names.queue_lost_nothing.name,
        asset=names.account_activity,
        additional_deps=[names.silver(table) for table in silver_tables()],
        required_resource_keys=resources.keys_of_op("lake"),
        description="The queue brought every event that the daily files have. The report counts, by day and type, what only one of the two had.",
    )
    def queue_lost_nothing(context: dg.AssetCheckExecutionContext, config: DaysConfig) -> dg.AssetCheckResult:
        lake = resources.lake(context)
        with as_failure():
            days = asked_range(config, settings)
            waiting = sum(unflattened(lake, source) for source in BRONZE_TABLES)
            found = list(compare_with_queue(lake, settings, days))
        return _result(found, waiting)

    return queue_lost_nothing


def _result(found: Sequence[Compared], waiting: int) -> dg.AssetCheckResult:
    lost = sum(each.only_file for each in found)
    said: str | None = None
    if waiting:
        said = f"{waiting} commits of bronze are not flattened yet: what they hold seems to be missing."
    elif not found:
        said = "No file of these days is in bronze."
    elif lost:
        said = f"{lost:,} events of {len(found)} files came by the files alone."
    numbers: dict[str, Any] = {
        "files": len(found),
        "events_in_files": sum(each.in_file for each in found),
        "events_in_both": sum(each.in_both for each in found),
        "events_only_in_files": lost,
        "events_only_from_queue": sum(each.only_queue or 0 for each in found),
        "by_day_and_type": dg.MetadataValue.table([dg.TableRecord(_record(each)) for each in found], schema=_SCHEMA),
    }
    return dg.AssetCheckResult(passed=said is None, severity=dg.AssetCheckSeverity.WARN, description=said, metadata=numbers)


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
