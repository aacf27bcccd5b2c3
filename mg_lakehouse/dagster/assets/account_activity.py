"""The daily files as an external asset, and the bronze asset that fetches them, by day and type."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from mg_lakehouse._util.progress import Step
from mg_lakehouse.bronze.account_activity import Fetched, FileKey, fetch_activity
from mg_lakehouse.bronze.tables import BRONZE_COLUMNS
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import ACTIVITY_DATE, ACTIVITY_TYPE, activity_files
from mg_lakehouse.dagster.reporting import OWNERS, RETRY_TRANSIENT, as_failure, column_schema, opened_metadata
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.errors import LakehouseError, TransientError
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.web_service import missing_credentials

__all__ = ["FetchConfig", "build_account_activity", "files_spec"]


class FetchConfig(dg.Config):
    """Configuration of a fetch."""

    again: bool = Field(default=False, description="Also fetch files that bronze has; if one changed, its new bundles are added.")


def files_spec(settings: Settings) -> dg.AssetSpec:
    """The daily files, which MessageGears produces: an external asset."""
    names, missing = Names(settings.feed), missing_credentials(settings)
    return dg.AssetSpec(
        names.files,
        description="The daily files of MessageGears' AccountActivity API: every event of a day and type, available from 8 o'clock on the next day.",
        group_name=names.group("messagegears"),
        kinds={"xml"},
        owners=list(OWNERS),
        partitions_def=activity_files(settings),
        metadata={"account": f"not set: {' and '.join(missing)}" if missing else str(settings.account_id)},
    )


def loaded_files_spec(settings: Settings) -> dg.AssetSpec:
    """Files of the feed loaded with ``mg-lakehouse load``: an external asset."""
    names = Names(settings.feed)
    return dg.AssetSpec(
        names.loaded_files,
        description="Files of the feed loaded with mg-lakehouse load, cut into bundles, one row per bundle.",
        group_name=names.group("bronze"),
        kinds={"deltalake", "xml"},
        owners=list(OWNERS),
        metadata={"dagster/column_schema": column_schema(BRONZE_COLUMNS["loaded_files"])},
    )


def build_account_activity(settings: Settings) -> dg.AssetsDefinition:
    """The asset ``bronze/account_activity``."""
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dg.asset(
        key=names.account_activity,
        deps=[names.files],
        partitions_def=activity_files(settings),
        # A run per file would make 500 runs of five seconds each for a month. The UI's dialog starts a run per day, our schedules one for all
        # days. A run skips files that bronze has.
        backfill_policy=dg.BackfillPolicy.single_run(),
        description="The daily files of the AccountActivity API, cut into bundles, one row per bundle. A file that bronze has is not fetched again, "
        "unless the run's config says so.",
        group_name=names.group("bronze"),
        kinds={"deltalake", "xml"},
        owners=list(OWNERS),
        metadata={"dagster/column_schema": column_schema(BRONZE_COLUMNS["account_activity"])},
        pool=names.pool("activity"),
        required_resource_keys=resources.keys_of_op("lake", "web_service", "progress"),
        retry_policy=RETRY_TRANSIENT,
    )
    def account_activity(
        context: dg.AssetExecutionContext, config: FetchConfig
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult[Any]]:
        with as_failure():
            service, store, progress = resources.web_service(context, settings), resources.lake(context), resources.progress(context)
            fetched: dict[str, Fetched] = {}
            failed: list[LakehouseError] = []
            for name, key in _files(context.partition_keys):
                try:
                    fetched[name] = fetch_activity(
                        service,
                        store,
                        settings,
                        key,
                        again=config.again,
                        progress=lambda done, unit, key=key: progress.report(  # type: ignore[misc]
                            context.log, Step(f"{key.activity_type} of {key.day}", done, unit)
                        ),
                    )
                except LakehouseError as error:
                    # Go on with the other files: a type that an account lacks must not block them.
                    context.log.warning(str(error))
                    failed.append(error)
                progress.report(context.log, Step("account_activity", len(fetched), "files"))
            if failed:
                for name, file in fetched.items():
                    yield dg.AssetMaterialization(names.account_activity, partition=name, metadata=_numbers(file))
                raise _first(failed)
            for name, file in fetched.items():
                context.add_asset_metadata(_numbers(file), partition_key=name)
            yield dg.MaterializeResult(metadata=opened_metadata(store, "bronze", "account_activity"))

    return account_activity


def _files(partition_keys: Iterable[Any]) -> Iterator[tuple[str, FileKey]]:
    """Yield each partition key with its file."""
    for key in partition_keys:
        parts = key.keys_by_dimension
        yield str(key), FileKey(date.fromisoformat(parts[ACTIVITY_DATE]), parts[ACTIVITY_TYPE])


def _first(failed: list[LakehouseError]) -> LakehouseError:
    """Return the failure to raise: one that a retry may fix, if there is one."""
    worst = next((error for error in failed if isinstance(error, TransientError)), failed[0])
    others = f" {len(failed) - 1} other files failed too; the log names them." if len(failed) > 1 else ""
    return type(worst)(f"{worst}{others}")


def _numbers(fetched: Fetched) -> Mapping[str, Any]:
    if fetched.file is None:
        return {"note": "Bronze has this file; it was not fetched."}
    return {
        "bytes_fetched": fetched.file.fetched,
        "bytes": fetched.file.bytes,
        "items": fetched.file.items,
        "bundles_new": fetched.new,
        "bundles_already_in_bronze": fetched.already,
        "commits": fetched.commits,
        "file_sha256": fetched.file.sha256,
        "complete": fetched.file.complete,
        "has_bytes_that_are_no_text": fetched.file.undecodable,
    }
