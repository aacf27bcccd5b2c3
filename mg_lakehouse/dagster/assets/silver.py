"""The silver assets: one per event table and ``rejected_items``. One op makes them all, so a bundle is read and parsed once."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

import dagster as dg
from pydantic import Field

from mg_lakehouse._util.progress import Step, on_remark
from mg_lakehouse.bronze.tables import BRONZE_SPECS
from mg_lakehouse.dagster.checks.silver import silver_check_results, silver_check_specs
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import RECEIVED_DATE, today
from mg_lakehouse.dagster.reporting import OWNERS, RETRY_TRANSIENT, as_failure, column_schema, table_metadata
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.dagster.unreported import unreported_since
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, columns_of, event_of_table, silver_tables
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.table_stats import stats_of_tables
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.earlier import committed_earlier
from mg_lakehouse.silver.rebuild import Rebuilt, rebuild
from mg_lakehouse.silver.report import SilverReport, TableCount, merged
from mg_lakehouse.silver.tables import open_silver, silver_spec
from mg_lakehouse.silver.update import flatten_sources

__all__ = ["SilverConfig", "build_silver", "only_new"]

_REJECTED_DESCRIPTION: Final = (
    "Items that could not become a row of an event table, one row per item or unreadable message, with the reason and the text."
)


class SilverConfig(dg.Config):
    """What to do with the chosen days of receipt, besides flattening bronze's new commits."""

    rederive: bool | None = Field(
        default=None, description="Rebuild the chosen days from bronze. By default only past days: today's messages are still arriving."
    )
    dry_run: bool = Field(default=False, description="Report what the rebuild would change, and change nothing.")


_OP: Final = "silver"


def only_new(names: Names) -> dict[str, dg.Config]:
    """Return the config, by op, of a run that only flattens new commits: one queued before midnight must not rebuild yesterday after it."""
    return {names.qualified(_OP): SilverConfig(rederive=False)}


def build_silver(settings: Settings) -> dg.AssetsDefinition:
    """Build the silver assets, all in one op."""
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dg.multi_asset(
        name=names.qualified(_OP),
        specs=[_spec(names, table) for table in silver_tables()],
        check_specs=silver_check_specs(names),
        partitions_def=RECEIVED_DATE,
        # Progress is by bronze's version: one run updates any number of partitions.
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
        pool=names.pool("silver"),
        required_resource_keys=resources.keys_of_op("lake", "progress"),
        retry_policy=RETRY_TRANSIENT,
    )
    def silver(context: dg.AssetExecutionContext, config: SilverConfig) -> Iterator[Any]:
        selected = [table for table in silver_tables() if names.silver(table) in context.selected_asset_keys]
        with as_failure():
            store, progress = resources.lake(context), resources.progress(context)
            with on_remark(context.log.info):
                # Bronze too: an older release would take a newer one's messages for a kind it knows.
                store.add_missing_columns(BRONZE_SPECS)
                before, added = _as_it_is(store, selected)
            unreported = unreported_since(context, names.silver(REJECTED_ITEMS))
            reports = flatten_sources(
                store,
                tables=selected,
                slice_bytes=settings.flatten_bytes,
                progress=lambda so_far: progress.report(context.log, Step("silver", so_far.items, "events flattened")),
            )
            rebuilt = list(
                rebuild(
                    store,
                    _days_to_rebuild(context.partition_keys if _has_partitions(context) else (), config),
                    tables=selected,
                    dry_run=config.dry_run,
                    slice_bytes=settings.flatten_bytes,
                    progress=lambda messages: progress.report(context.log, Step("silver", messages, "messages rebuilt")),
                )
            )
            report = merged(list(reports.values()))
            if unreported is not None:
                report = merged([report, committed_earlier(store, selected, unreported, before=before, reports=reports)])
            after = open_silver(store)
            stats = stats_of_tables({table: after[table] for table in selected if table in after})
            checks = list(silver_check_results(names, store, after, reports, before, selected=context.selected_asset_check_keys))
            # `rejected_items` with its check that nothing was lost comes first, and each check with its table: nobody sees new tables with
            # old checks.
            for table in sorted(selected, key=lambda table: table != REJECTED_ITEMS):
                own = [check for check in checks if check.asset_key == names.silver(table)]
                yield dg.MaterializeResult(
                    names.silver(table),
                    metadata={
                        **_numbers(table, report, reports),
                        **table_metadata(store, "silver", table, stats.get(table)),
                        **_columns_added(table, added),
                        **_rederived(table, rebuilt),
                    },
                    check_results=own,
                )
            yield from (check for check in checks if check.asset_key not in context.selected_asset_keys)

    return silver


def _as_it_is(lake: Lake, tables: Sequence[str]) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Add missing columns to tables. Returns the version of each, -1 where it does not exist, and the names of added columns."""
    opened, added = lake.open_grown([silver_spec(table) for table in tables])
    return {table: opened[table].version() if table in opened else -1 for table in tables}, added


def _has_partitions(context: dg.AssetExecutionContext) -> bool:
    """Whether the run has partitions: a check that is executed alone has none."""
    return bool(context.has_partition_key or context.has_partition_key_range)


def _days_to_rebuild(partitions: Sequence[str], config: SilverConfig) -> list[date]:
    days = [date.fromisoformat(key) for key in partitions]
    if config.rederive is None:
        return [day for day in days if day < date.fromisoformat(today())]
    return days if config.rederive else []


def _columns_added(table: str, added: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Metadata on columns of the catalogue that the table lacked."""
    return {"columns_added": ", ".join(added[table])} if table in added else {}


def _rederived(table: str, rebuilt: Sequence[Rebuilt]) -> dict[str, Any]:
    """Metadata on what the rebuild changed in a table, or would change."""
    own = [day for day in rebuilt if day.table == table]
    if not own:
        return {}
    changed = [day for day in own if day.changed]
    return {
        "days_rederived": len(own),
        "days_changed": len(changed),
        "rows_rederived": sum(day.rows for day in own),
        "rows_put_right": sum(day.added for day in own),
        "rows_removed_or_replaced": sum(day.removed for day in own),
        "changed_days": ", ".join(day.day.isoformat() for day in changed[:31]) or "none",
    }


def _spec(names: Names, table: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        names.silver(table),
        deps=[names.event_feed, _daily_files(names), names.loaded_files],
        description=_REJECTED_DESCRIPTION if table == REJECTED_ITEMS else event_of_table(table).description,
        group_name=names.group("silver"),
        kinds={"deltalake", "polars"},
        owners=list(OWNERS),
        metadata={"dagster/column_schema": column_schema(columns_of(table))},
        skippable=True,
    )


def _daily_files(names: Names) -> dg.AssetDep:
    """A day of receipt may hold files of any day. Listing them all for each table would cost an ingest a second."""
    return dg.AssetDep(names.account_activity, partition_mapping=dg.LastPartitionMapping())


def _numbers(table: str, report: SilverReport, reports: Mapping[str, SilverReport]) -> dict[str, Any]:
    if table == REJECTED_ITEMS:
        numbers: dict[str, Any] = {
            "rows_added": sum(report.rejected.values()),
            "messages": report.messages,
            "items": report.items,
            "rejected": dict(report.rejected),
            "set_aside": dict(report.set_aside),
        }
    else:
        count = report.tables.get(table, TableCount())
        numbers = {"rows_added": count.rows, "duplicates_dropped": count.duplicates, "conflicts_rejected": count.conflicts}
    versions = {f"{source}_version": source_report.to_version for source, source_report in reports.items()}
    return {**numbers, **versions}
