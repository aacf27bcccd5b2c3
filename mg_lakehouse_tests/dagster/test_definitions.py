"""The definitions as Dagster and a person see them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.checks.silver import blocking_checks
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.definitions import defs
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold.dbt_project import ensure_manifest
from mg_lakehouse.settings import Settings

MARTS = {
    "dim_bounce_categories",
    "fct_messages",
    "dim_jobs",
    "job_metrics",
    "job_metrics_daily",
    "job_bounce_categories",
    "bounce_categories_daily",
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(Settings())


def keys_of(definitions: dg.Definitions, first: str) -> set[str]:
    graph = definitions.resolve_asset_graph()
    return {key.path[-1] for key in graph.get_all_asset_keys() if key.path[0] == first}


def test_they_validate(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_every_table_of_the_contract_is_an_asset(definitions: dg.Definitions) -> None:
    assert keys_of(definitions, "bronze") == {"event_feed", "account_activity", "loaded_files"}
    assert keys_of(definitions, "silver") == set(silver_tables())
    assert keys_of(definitions, "gold") >= MARTS


def test_the_graph_joins_the_queue_to_gold(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    assert graph.get(dg.AssetKey(["messagegears", "event_feed_queue"])).is_external
    assert graph.get(dg.AssetKey(["bronze", "event_feed"])).parent_keys == {dg.AssetKey(["messagegears", "event_feed_queue"])}
    assert graph.get(dg.AssetKey(["silver", "clicks"])).parent_keys == {
        dg.AssetKey(["bronze", table]) for table in ("event_feed", "account_activity", "loaded_files")
    }
    assert dg.AssetKey(["silver", "clicks"]) in graph.get(dg.AssetKey(["gold", "fct_messages"])).parent_keys
    assert dg.AssetKey(["gold", "fct_messages"]) in graph.get(dg.AssetKey(["gold", "job_metrics"])).parent_keys


def test_every_asset_of_ours_is_described_grouped_and_owned(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description, key
        assert node.group_name == key.path[0]
        assert node.owners == ["team:data-engineering"]
        assert node.kinds


def test_personal_data_is_tagged_in_the_column_schemas(definitions: dg.Definitions) -> None:
    schema = definitions.resolve_asset_graph().get(dg.AssetKey(["silver", "clicks"])).metadata["dagster/column_schema"]
    tagged = {column.name for column in schema.columns if "pii" in column.tags}
    assert tagged == {"email_address", "ip_address", "url", "_rescued_data"}
    schema = definitions.resolve_asset_graph().get(dg.AssetKey(["gold", "suppression_list"])).metadata["dagster/column_schema"]
    assert {column.name for column in schema.columns if "pii" in column.tags} == {"address"}


def test_each_layer_has_a_pool_of_its_own(definitions: dg.Definitions) -> None:
    """One writer a layer: the instance gives each pool one place."""
    graph = definitions.resolve_asset_graph()
    pools = {(key.path[0], pool) for key in graph.materializable_asset_keys for pool in graph.get(key).pools or ()}
    assert pools == {
        ("bronze", "mg_bronze"),
        ("bronze", "mg_activity"),
        ("silver", "mg_silver"),
        ("gold", "mg_gold"),
        ("gold", "mg_reconciliation"),
    }


def test_gold_asks_for_every_blocking_check(definitions: dg.Definitions) -> None:
    """Dagster stops what is downstream in the same run; a click, a schedule and a command are stopped by the question alone."""
    graph = definitions.resolve_asset_graph()
    blocking = {key for key in graph.asset_check_keys if graph.get_check_spec(key).blocking and key.asset_key.path[0] != "gold"}
    assert blocking == set(blocking_checks(Names(None)))


def test_conservation_and_uniqueness_block(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    blocking = {(key.asset_key.path[-1], key.name) for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert ("rejected_items", "conservation") in blocking
    assert {table for table, name in blocking if name == "unique_activity_id"} == set(silver_tables()) - {"rejected_items"}


def test_what_reads_gold_follows_one_answer_instead_of_asking_about_every_table(definitions: dg.Definitions) -> None:
    """Asked by every model, the question about twenty tables took Dagster's daemon a quarter of a core."""
    graph = definitions.resolve_asset_graph()
    models = [graph.get(key) for key in graph.get_all_asset_keys() if key.path[0] == "gold" and graph.get(key).automation_condition]
    reading_gold = {model.key for model in models if any(parent.path[0] == "gold" for parent in model.parent_keys)}
    asking = {model.key for model in models if "'clicks'" in repr(model.automation_condition)}
    assert dg.AssetKey(["gold", "job_metrics"]) in reading_gold
    assert dg.AssetKey(["gold", "fct_messages"]) in asking
    assert asking == {model.key for model in models} - reading_gold


def test_today_has_a_partition(definitions: dg.Definitions) -> None:
    from mg_lakehouse.dagster.partitions import RECEIVED_DATE, today

    assert RECEIVED_DATE.get_partition_keys()[-1] == today()


def test_they_load_with_no_setting_and_no_network(tmp_path: Path) -> None:
    """Dagster loads the code often, in places that have neither credentials nor a way out."""
    script = (
        "import socket\n"
        "def refuse(*_, **__): raise OSError('no network')\n"
        "socket.getaddrinfo = refuse\n"
        "import dagster as dg\n"
        "from mg_lakehouse.definitions import build_definitions, defs\n"
        "definitions = build_definitions()\n"
        "dg.Definitions.validate_loadable(definitions)\n"
        "import json; print(json.dumps(len(definitions.resolve_asset_graph().get_all_asset_keys())))\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MG_", "DAGSTER_"))}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=kept, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) > 30
    assert list(tmp_path.iterdir()) == []


def test_what_automation_or_a_click_starts_runs_in_one_process_and_a_merged_project_keeps_its_executor() -> None:
    assert defs().resolve_implicit_global_asset_job_def().executor_def is dg.in_process_executor
    own = dg.Definitions(executor=dg.multiprocess_executor)
    merged = dg.Definitions.merge(build_definitions(Settings()), own)
    assert merged.resolve_implicit_global_asset_job_def().executor_def is dg.multiprocess_executor


def test_a_missing_dbt_project_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"No dbt project was found in .*: set MG_DBT_PROJECT_DIR to the folder"):
        build_definitions(Settings(dbt_project_dir=tmp_path))


def test_they_load_while_folders_of_builds_come_and_go(tmp_path: Path) -> None:
    """A run did not start, because a build that ended removed its folder while the run looked for changed files of the project."""
    (tmp_path / "dbt_project.yml").write_text("name: a_project")
    (tmp_path / "target" / "parsed").mkdir(parents=True)
    (manifest := tmp_path / "target" / "parsed" / "manifest.json").write_text("{}")
    stop = threading.Event()

    def build() -> None:
        while not stop.is_set():
            for number in range(20):
                (tmp_path / "target" / "gold-run-1" / f"{number}" / "compiled" / "models.yml").mkdir(parents=True)
            shutil.rmtree(tmp_path / "target" / "gold-run-1")

    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(build)
        try:
            found = {ensure_manifest(Settings(dbt_project_dir=tmp_path)) for _ in range(200)}
        finally:
            stop.set()
        building.result()
    assert found == {manifest}
