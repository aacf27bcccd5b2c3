"""What the page on one's own Dagster project shows is loaded as it stands there, and so is what the README shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

from mg_lakehouse import FeedComponent
from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse_tests.docs.consoles import fenced
from mg_lakehouse_tests.docs.pages import DOCS

PAGE = DOCS / "dagster-project.md"


def documents(page: Path) -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for _, text in fenced(page, "yaml")]


@pytest.mark.parametrize("page", [PAGE, DOCS.parent / "README.md"], ids=lambda page: page.name)
def test_the_component_of_the_page_loads(page: Path) -> None:
    (component,) = (each for each in documents(page) if each.get("type") == "mg_lakehouse.FeedComponent")
    found = FeedComponent.from_attributes_dict(attributes=component["attributes"])
    definitions = found.build_defs(dg.ComponentTree.for_test().load_context)
    assert dg.AssetKey(["transactional", "gold", "job_metrics"]) in definitions.resolve_asset_graph().get_all_asset_keys()


def test_the_code_location_of_the_page_is_that_of_the_repository() -> None:
    (shown,) = (each for each in documents(PAGE) if "load_from" in each)
    (ours,) = yaml.safe_load((DOCS.parent / "workspace.yaml").read_text())["load_from"]
    assert shown["load_from"][0]["python_module"]["module_name"] == ours["python_module"]["module_name"]


def test_the_python_of_the_page_runs() -> None:
    (_, code), *_ = fenced(PAGE, "python")
    module: dict[str, Any] = {"__name__": "page"}
    exec(code, module)
    definitions: dg.Definitions = module["defs"]
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()
    assert graph.get(dg.AssetKey("removed_from_the_crm")).parent_keys == {dg.AssetKey(["receipts", "gold", "suppression_list"])}
    assert (definitions.resources or {})["receipts_event_feed"].profile_name == "receipts"


def test_the_instance_of_the_page_gives_each_pool_one_place() -> None:
    (shown,) = (each for each in documents(PAGE) if "concurrency" in each)
    ours = yaml.safe_load((DOCS.parent / "mg_lakehouse" / "dagster.yaml").read_text())
    assert shown["concurrency"]["pools"] == ours["concurrency"]["pools"]


@pytest.mark.s3
def test_the_logs_of_the_page_go_to_the_bucket(s3_server: S3Server, tmp_path: Path) -> None:
    (shown,) = (each for each in documents(PAGE) if "compute_logs" in each)
    shown["compute_logs"]["config"]["bucket"] = s3_server.make_bucket("logs").removeprefix("s3://")
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(shown))
    with (
        set_environment(s3_server.environment),
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance,
        instance.compute_log_manager.capture_logs(["run", "compute_logs", "step"]),
    ):
        os.write(2, b"it ran")
    keys = {each["Key"] for each in s3_server.client().list_objects_v2(Bucket="logs")["Contents"]}
    assert "dagster/logs/storage/run/compute_logs/step.err" in keys
