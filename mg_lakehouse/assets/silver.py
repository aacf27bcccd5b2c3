"""The silver assets: one per event table and ``rejected_items``, in one op, so that a bundle is read and parsed once."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

import dagster as dg
from pydantic import Field

from mg_lakehouse.assets.reporting import OWNERS, RETRY_TRANSIENT, as_failure, column_schema, table_metadata
from mg_lakehouse.checks import silver_check_results, silver_check_specs
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, columns_of, event_of_table, silver_tables
from mg_lakehouse.keys import ACCOUNT_ACTIVITY_KEY, EVENT_FEED_KEY, LOADED_FILES_KEY, silver_key
from mg_lakehouse.partitions import RECEIVED_DATE, today
from mg_lakehouse.progress import Step
from mg_lakehouse.resources import LakeResource, ProgressResource
from mg_lakehouse.settings import Settings
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse.stores.rederive import Rederived, rederive
from mg_lakehouse.stores.silver import SilverReport, TableCount, flatten_sources, merged

__all__ = ["ONLY_NEW", "SilverConfig", "build_silver"]

_REJECTED_DESCRIPTION: Final = (
    "What could not become a row of an event table, one row per item or unreadable message, with the reason and the text."
)


class SilverConfig(dg.Config):
    """What is done with the chosen days of receipt, beside flattening what bronze has and silver lacks."""

    rederive: bool | None = Field(
        default=None, description="Make the chosen days anew from bronze. By default the past ones, for today's are still being received."
    )
    dry_run: bool = Field(default=False, description="Say what making them anew would change, and change nothing.")


ONLY_NEW: Final = {"silver": SilverConfig(rederive=False)}
"""Config by op of a run that brings what is new: queued before midnight and started after it, it must not make all of yesterday anew."""


def build_silver(settings: Settings) -> dg.AssetsDefinition:
    """The silver assets, all made by one op."""

    @dg.multi_asset(
        name="silver",
        specs=[_spec(table) for table in silver_tables()],
        check_specs=silver_check_specs(),
        partitions_def=RECEIVED_DATE,
        # Progress is by bronze's version: one run brings any number of partitions up to date.
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
        pool="mg_silver",
        retry_policy=RETRY_TRANSIENT,
    )
    def silver(context: dg.AssetExecutionContext, config: SilverConfig, lake: LakeResource, progress: ProgressResource) -> Iterator[Any]:
        selected = [table for table in silver_tables() if silver_key(table) in context.selected_asset_keys]
        with as_failure():
            store = lake.get()
            before = {table: _version(store, table) for table in selected}
            reports = flatten_sources(
                store,
                tables=selected,
                slice_bytes=settings.flatten_bytes,
                progress=lambda so_far: progress.report(context.log, Step("silver", so_far.items, "events flattened")),
            )
            made = list(
                rederive(
                    store,
                    _days_to_rederive(context.partition_keys if _has_partitions(context) else (), config),
                    tables=selected,
                    dry_run=config.dry_run,
                    slice_bytes=settings.flatten_bytes,
                    progress=lambda messages: progress.report(context.log, Step("silver", messages, "messages flattened again")),
                )
            )
            report = merged(list(reports.values()))
            checks = list(silver_check_results(store, reports, before, context.selected_asset_check_keys))
            # The check that nothing was lost goes first, and each check with its table: nobody sees the tables new and the checks old.
            for table in sorted(selected, key=lambda table: table != REJECTED_ITEMS):
                own = [check for check in checks if check.asset_key == silver_key(table)]
                yield dg.MaterializeResult(
                    silver_key(table), metadata=_metadata(store, table, report, reports) | _rederived(table, made), check_results=own
                )
            yield from (check for check in checks if check.asset_key not in context.selected_asset_keys)

    return silver


def _has_partitions(context: dg.AssetExecutionContext) -> bool:
    """A check that is executed alone has none."""
    return bool(context.has_partition_key or context.has_partition_key_range)


def _days_to_rederive(partitions: Sequence[str], config: SilverConfig) -> list[date]:
    days = [date.fromisoformat(key) for key in partitions]
    if config.rederive is None:
        return [day for day in days if day < date.fromisoformat(today())]
    return days if config.rederive else []


def _rederived(table: str, made: Sequence[Rederived]) -> dict[str, Any]:
    """What making days anew changed in a table, or would."""
    own = [each for each in made if each.table == table]
    if not own:
        return {}
    changed = [each for each in own if each.changed]
    return {
        "days_rederived": len(own),
        "days_changed": len(changed),
        "rows_rederived": sum(each.rows for each in own),
        "rows_put_right": sum(each.added for each in own),
        "rows_removed_or_replaced": sum(each.removed for each in own),
        "changed_days": ", ".join(each.day.isoformat() for each in changed[:31]) or "none",
    }


def _spec(table: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        silver_key(table),
        deps=[EVENT_FEED_KEY, _daily_files(), LOADED_FILES_KEY],
        description=_REJECTED_DESCRIPTION if table == REJECTED_ITEMS else event_of_table(table).description,
        group_name="silver",
        kinds={"deltalake", "polars"},
        owners=list(OWNERS),
        metadata={"dagster/column_schema": column_schema(columns_of(table))},
        skippable=True,
    )


def _version(lake: Lake, table: str) -> int:
    handle = lake.open("silver", table)
    return -1 if handle is None else handle.version()


def _daily_files() -> dg.AssetDep:
    """A day of receipt may hold files of any day; to list all of them for each table would cost an ingest a second."""
    return dg.AssetDep(ACCOUNT_ACTIVITY_KEY, partition_mapping=dg.LastPartitionMapping())


def _metadata(lake: Lake, table: str, report: SilverReport, reports: Mapping[str, SilverReport]) -> dict[str, Any]:
    if table == REJECTED_ITEMS:
        numbers: dict[str, Any] = {
            "rows_added": sum(report.rejected.values()),
            "messages": report.messages,
            "items": report.items,
            "rejected": dict(report.rejected),
        }
    else:
        count = report.tables.get(table, TableCount())
        numbers = {"rows_added": count.rows, "duplicates_dropped": count.duplicates, "conflicts_rejected": count.conflicts}
    versions = {f"{source}_version": each.to_version for source, each in reports.items()}
    return {**numbers, **versions, **table_metadata(lake, "silver", table)}
