"""The gold assets: the dbt project's models, and its tests as their checks. The engine of gold builds them."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any

import dagster as dg
from deltalake import DeltaTable

from mg_lakehouse._util.progress import Step, on_remark
from mg_lakehouse.dagster.automation import gold_condition
from mg_lakehouse.dagster.checks.silver import failed_blocking_check
from mg_lakehouse.dagster.dbt_specs import dbt_specs
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import OWNERS, RETRY_TRANSIENT, as_failure, table_metadata
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.errors import LakehouseError, PermanentError
from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.gold.engine import BuildResult, NodeResult, run
from mg_lakehouse.gold.project import ensure_manifest
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.table_stats import table_stats
from mg_lakehouse.serving.catalog_file import catalog_file
from mg_lakehouse.serving.views import build_catalog
from mg_lakehouse.settings import Settings

__all__ = ["build_gold"]


def gold_spec(names: Names, spec: dg.AssetSpec) -> dg.AssetSpec:
    """dagster-dbt's spec of a model under a feed's names, with this project's owners, kinds, condition and freshness."""
    key = names.key(*spec.key.path)
    deps = [_renamed(names, dep) for dep in spec.deps]
    if not _is_gold(names, key):
        return spec.replace_attributes(key=key, deps=deps, group_name=None)
    # Seeds are code, not assets. Every model depends on `rejected_items`, whose check shows that nothing was lost.
    tables = [dep for dep in (*deps, dg.AssetDep(names.silver(REJECTED_ITEMS))) if _is_table(names, dep.asset_key)]
    return spec.replace_attributes(
        key=key,
        group_name=names.group("gold"),
        deps={dep.asset_key: dep for dep in tables}.values(),
        # dbt's table name is that of DuckDB, in memory; each materialization reports the address in the lake.
        metadata={name: value for name, value in spec.metadata.items() if name != "dagster/table_name"},
        owners=list(OWNERS),
        kinds={"dbt", "duckdb", "deltalake"},
        automation_condition=gold_condition(names, reads_gold=any(_is_gold(names, dep.asset_key) for dep in deps)),
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=24), warn_window=timedelta(hours=6)),
    )


def gold_check_spec(names: Names, check: dg.AssetCheckSpec) -> dg.AssetCheckSpec:
    """dagster-dbt's spec of a test under a feed's names."""
    return dg.AssetCheckSpec(
        check.name,
        asset=names.key(*check.asset_key.path),
        description=check.description,
        additional_deps=[_renamed(names, dep) for dep in check.additional_deps],
        blocking=check.blocking,
        metadata=check.metadata,
    )


def _renamed(names: Names, dep: dg.AssetDep) -> dg.AssetDep:
    return dg.AssetDep(names.key(*dep.asset_key.path), metadata=dep.metadata)


def _is_table(names: Names, key: dg.AssetKey) -> bool:
    return _is_gold(names, key) or key == names.silver(key.path[-1])


def _is_gold(names: Names, key: dg.AssetKey) -> bool:
    return key == names.gold(key.path[-1])


def build_gold(settings: Settings) -> dg.AssetsDefinition:
    """Build all gold assets, in one op; a subset can be built alone.

    Raises:
        ConfigurationError: there is no dbt project.
        PermanentError: the project does not compile.
    """
    names = Names(settings.feed)
    resources = FeedResources(names)

    specs = dbt_specs(ensure_manifest(settings))

    @dg.multi_asset(
        name=names.qualified("gold_models"),
        specs=[gold_spec(names, spec) for spec in specs.assets],
        check_specs=[gold_check_spec(names, check) for check in specs.checks],
        can_subset=True,
        pool=names.pool("gold"),
        required_resource_keys=resources.keys_of_op("lake", "progress"),
        retry_policy=RETRY_TRANSIENT,
    )
    def gold(context: dg.AssetExecutionContext) -> Iterator[Any]:
        with as_failure():
            _require_passed_checks(names, context.instance)
            store, progress = resources.lake(context), resources.progress(context)
            models = {key.path[-1] for key in context.selected_asset_keys}
            tests = {check.name: check for check in context.selected_asset_check_keys}
            results: dict[str, NodeResult] = {}
            # Closed whatever happens: a run that is terminated ends the queries under way.
            with on_remark(context.log.info), closing(run(store, settings, models=models, tests=tests.keys())) as build:
                for result in build:
                    results[result.unique_id] = result
                    if result.is_model and result.status in {"success", "unchanged"}:
                        progress.report(context.log, Step("gold", sum(each.is_model for each in results.values()), "models built"))
                        stats = None if result.table is None else table_stats(result.table)
                        metadata = table_metadata(store, "gold", result.name, stats)
                        yield dg.MaterializeResult(asset_key=names.gold(result.name), metadata=metadata)
                    elif result.status in {"pass", "warn", "fail"}:
                        yield _as_check(tests[result.name], result)
            BuildResult(results).raise_if_failed()
            tables = {result.name: result.table for result in results.values() if result.table is not None}
            _refresh_catalog(context.log, store, settings, tables)

    return gold


def _as_check(check: dg.AssetCheckKey, result: NodeResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=result.status == "pass",
        asset_key=check.asset_key,
        check_name=check.name,
        severity=dg.AssetCheckSeverity.WARN if result.status == "warn" else dg.AssetCheckSeverity.ERROR,
        metadata={"failing_rows": result.failures or 0, "seconds": round(result.seconds, 3)},
    )


def _refresh_catalog(log: dg.DagsterLogManager, lake: Lake, settings: Settings, gold: Mapping[str, DeltaTable]) -> None:
    """Rebuild the catalogue of views. It holds no data; if this fails, the old one stays."""
    path = catalog_file(settings)
    if path is None:
        return
    try:
        build_catalog(lake, settings, path, gold)
    except LakehouseError as error:
        log.warning(str(error))


def _require_passed_checks(names: Names, instance: dg.DagsterInstance) -> None:
    """Refuse to build gold after a blocking check failed, whether automation, a schedule or a person asks."""
    if (failed := failed_blocking_check(names, instance)) is not None:
        raise PermanentError(
            f"The blocking check {failed.name} of {failed.asset_key.to_user_string()} failed, so gold was not changed: "
            "see that check for the cause, and ingest or execute the check again before building gold."
        )
