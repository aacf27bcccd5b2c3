"""Imports point inwards: what MessageGears sends knows no store, and no store knows Dagster."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mg_lakehouse"
DAGSTER = ("dagster", "dagster_dbt", "dagster_aws")
CLIENTS = ("boto3", "botocore", "deltalake", "duckdb")


def imports_of(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize(
    ("ring", "forbidden"),
    [
        ("events", ("mg_lakehouse.stores", "mg_lakehouse.assets", "mg_lakehouse.settings", *DAGSTER, *CLIENTS)),
        (
            "stores",
            ("mg_lakehouse.assets", "mg_lakehouse.definitions", "mg_lakehouse.dagster.resources", "mg_lakehouse.dagster.checks", *DAGSTER),
        ),
    ],
)
def test_imports_point_inwards(ring: str, forbidden: tuple[str, ...]) -> None:
    modules = sorted((PACKAGE / ring).rglob("*.py"))
    assert modules
    wrong = [
        f"{module.relative_to(PACKAGE)} imports {name}"
        for module in modules
        for name in sorted(imports_of(module))
        if any(name == outer or name.startswith(f"{outer}.") for outer in forbidden)
    ]
    assert wrong == []


def test_the_catalogue_is_the_only_python_that_names_an_element() -> None:
    """A new event type is one entry; a second place that knows one would be forgotten."""
    named = [
        module.name
        for module in sorted(PACKAGE.rglob("*.py"))
        if "demo" not in module.parts and module.name != "catalogue.py" and "MessageActivity" in module.read_text()
    ]
    assert named == []


def test_whoever_asks_the_lake_in_sql_comes_through_one_function() -> None:
    """Outside of the stores only dbt's plugin and the demo have a DuckDB, so that a new way in is behind the walls of `ad_hoc` too."""
    wrong = [
        f"{module.relative_to(PACKAGE)} imports {name}"
        for module in sorted(PACKAGE.rglob("*.py"))
        if not {"stores", "demo", "dbt_plugin.py"} & set(module.parts)
        for name in imports_of(module)
        if name == "duckdb" or name.startswith("mg_lakehouse.serving.sandbox.answer")
    ]
    assert wrong == []
