"""What the page on one's own Dagster project shows is loaded as it stands there, and so is what the README shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from mg_lakehouse import FeedComponent
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
