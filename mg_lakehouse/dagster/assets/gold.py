"""The gold assets: the dbt project's models. dbt builds them, and our materialization writes them to Delta."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation, DbtCliResource, dbt_assets
from dagster_dbt.compat import DBT_PYTHON_VERSION
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse._util.progress import Step
from mg_lakehouse.dagster.automation import gold_condition
from mg_lakehouse.dagster.checks.silver import failed_blocking_check
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import OWNERS, RETRY_TRANSIENT, as_failure, table_metadata
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.errors import LakehouseError, PermanentError
from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.gold.dbt_project import NOT_BUILT, dbt_environment, ensure_manifest, key_environment, run_folder
from mg_lakehouse.gold.names import gold_models, project_dir
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.catalog_file import catalog_file
from mg_lakehouse.serving.views import build_catalog
from mg_lakehouse.settings import Settings

__all__ = ["build_dbt_resource", "build_gold"]


class GoldTranslator(DagsterDbtTranslator):
    """Translates dbt's models into Dagster assets, under a feed's names."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Return the project's key of the model or source, prefixed with the feed's name."""
        return self._names.key(*super().get_asset_key(dbt_resource_props).path)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Return the feed's group of gold tables."""
        return self._names.group("gold") if super().get_group_name(dbt_resource_props) == "gold" else None

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the model's description without its SQL, which would push the columns off the page."""
        return str(dbt_resource_props["description"])

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:
        """Extend dagster-dbt's spec with this project's owners, kinds, condition and freshness."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        if not self._is_gold(spec.key):
            return spec
        return spec.replace_attributes(
            # Seeds are code, not assets. Every model depends on `rejected_items`, whose check shows that nothing was lost.
            deps={
                dep.asset_key: dep for dep in (*spec.deps, dg.AssetDep(self._names.silver(REJECTED_ITEMS))) if self._is_table(dep.asset_key)
            }.values(),
            # dbt's table name is that of DuckDB, in memory; each materialization reports the address in the lake.
            metadata={name: value for name, value in spec.metadata.items() if name != "dagster/table_name"},
            owners=list(OWNERS),
            kinds={"dbt", "duckdb", "deltalake"},
            automation_condition=gold_condition(self._names, reads_gold=any(self._is_gold(dep.asset_key) for dep in spec.deps)),
            freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=24), warn_window=timedelta(hours=6)),
        )

    def _is_table(self, key: dg.AssetKey) -> bool:
        return self._is_gold(key) or key == self._names.silver(key.path[-1])

    def _is_gold(self, key: dg.AssetKey) -> bool:
        return key == self._names.gold(key.path[-1])


def build_gold(settings: Settings) -> dg.AssetsDefinition:
    """Build all gold assets, in one op; a subset can be built alone.

    Raises:
        ConfigurationError: there is no dbt project.
        PermanentError: the project does not parse.
    """
    names = Names(settings.feed)
    resources = FeedResources(names)

    @dbt_assets(
        name=names.qualified("gold_models"),
        manifest=ensure_manifest(settings),
        dagster_dbt_translator=GoldTranslator(names),
        exclude=" ".join(NOT_BUILT),
        pool=names.pool("gold"),
        required_resource_keys=resources.keys_of_op("lake", "dbt", "progress"),
        retry_policy=RETRY_TRANSIENT,
    )
    def gold(context: dg.AssetExecutionContext) -> Iterator[Any]:
        with as_failure():
            _require_passed_checks(names, context.instance)
            store, progress = resources.lake(context), resources.progress(context)
            _refuse_damaged(store, settings)
            with run_folder(project_dir(settings), context.run.run_id[:7]) as folder:
                # dbt runs in its own process and reads the lake and the key from its environment.
                with set_environment(dbt_environment(settings, store) | key_environment(settings, store)):
                    invocation = resources.dbt(context).cli(["build"], context=context, target_path=folder.path)
                for built, event in _numbered(_stream(invocation)):
                    if isinstance(event, dg.Output):
                        model = context.asset_key_for_output(event.output_name).path[-1]
                        progress.report(context.log, Step("gold", built, "models built"))
                        yield event.with_metadata({**event.metadata, **table_metadata(store, "gold", model)})
                    else:
                        yield event
            _refresh_catalog(context.log, store, settings)

    return gold


def _refresh_catalog(log: dg.DagsterLogManager, lake: Lake, settings: Settings) -> None:
    """Rebuild the catalogue of views. It holds no data; if this fails, the old one stays."""
    path = catalog_file(settings)
    if path is None:
        return
    try:
        build_catalog(lake, settings, path)
    except LakehouseError as error:
        log.warning(str(error))


def _refuse_damaged(lake: Lake, settings: Settings) -> None:
    """Fail here if a table is damaged: an error in dbt's process shows only in its output. Tables on S3 are not checked."""
    if lake.is_local:
        lake.open_all("gold", gold_models(settings))


def _require_passed_checks(names: Names, instance: dg.DagsterInstance) -> None:
    """Refuse to build gold after a blocking check failed, whether automation, a schedule or a person asks."""
    if (failed := failed_blocking_check(names, instance)) is not None:
        raise PermanentError(
            f"The blocking check {failed.name} of {failed.asset_key.to_user_string()} failed, so gold was not changed: "
            "see that check for the cause, and ingest or execute the check again before building gold."
        )


def _stream(invocation: DbtCliInvocation) -> Iterator[Any]:
    """Stream dbt's events. A failed build becomes one sentence that names what failed, and is not retried at once.

    dbt's own messages stay in its log: DuckDB's may quote a value.
    """
    try:
        yield from invocation.stream()
    except DagsterDbtCliRuntimeError as error:
        failed = ", ".join(_failed_nodes(invocation)) or "it stopped before it ran a model"
        raise PermanentError(
            f"The dbt build failed ({failed}): models it did not build are unchanged. See dbt's output in this run."
        ) from error


def _failed_nodes(invocation: DbtCliInvocation) -> list[str]:
    try:
        results = invocation.get_artifact("run_results.json")["results"]
    except (OSError, ValueError):
        return []
    return [result["unique_id"].split(".")[2] for result in results if result["status"] in ("error", "fail", "runtime error")]


def _numbered(events: Iterator[Any]) -> Iterator[tuple[int, Any]]:
    """Yield each event with the number of models built so far."""
    built = 0
    for event in events:
        built += isinstance(event, dg.Output)
        yield built, event


class InstalledDbt(DbtCliResource):
    """Dbt's command line of this very environment, asked for nothing that is known.

    dagster-dbt starts ``dbt --version`` before each build, and loads dbt's macros for an adapter that counts rows and names columns once a
    build is done, which this project does by itself: 2.6 and 1.6 seconds of a core.
    """

    @cached_property
    def _cli_version(self) -> Any:
        return DBT_PYTHON_VERSION

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:  # noqa: ARG002  dagster-dbt's signature
        return None


def build_dbt_resource(settings: Settings) -> DbtCliResource:
    """Build the resource for dbt's command line, from this Python environment.

    Raises:
        ConfigurationError: there is no dbt project.
    """
    project = project_dir(settings)
    return InstalledDbt(
        project_dir=str(project),
        profiles_dir=str(project),
        dbt_executable=str(Path(sys.executable).parent / "dbt"),
    )
