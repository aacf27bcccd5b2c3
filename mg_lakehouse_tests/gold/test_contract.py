"""The names that dbt and Python share are the same on both sides, and every query that is kept in a file fits the tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, get_args

import duckdb
import pytest

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold import contract
from mg_lakehouse.gold.changes import empty_rows
from mg_lakehouse.gold.contract import BuildVariables, Scope
from mg_lakehouse.gold.job_days import DAYS_OF_JOBS, DAYS_OF_MESSAGES, DaysOfJobs
from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.gold.project import ensure_manifest
from mg_lakehouse.lake.sql import Value, filled_in, identifier
from mg_lakehouse.serving import queries
from mg_lakehouse.serving.alerts import ALERTS
from mg_lakehouse.serving.queries import query
from mg_lakehouse.settings import Settings

PROJECT: Final = project_dir(Settings())
FOLDER: Final = Path(queries.__file__).parent
NAMES: Final = sorted(file.relative_to(FOLDER).with_suffix("").as_posix() for file in FOLDER.rglob("*.sql"))
VALUES: Final[Mapping[str, Value]] = {
    "first": date(2026, 3, 1),
    "last": date(2026, 3, 31),
    "categories": ["it's"],
    "campaigns": [],
    "request_id": "b1-job",
    "table": "opens",
    "layer": None,
    "most": 5,
    "hours": 72,
    "named_types": 8,
    "best": True,
    "since": date(2026, 3, 1),
    "messages": 1_000,
    "usual_days": 28,
    "sibling_days": 90,
}


def macros(name: str) -> str:
    return (PROJECT / "macros" / f"{name}.sql").read_text()


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(ensure_manifest(Settings()).read_text())
    return parsed


@pytest.fixture(scope="module")
def models(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    nodes = (node for node in manifest["nodes"].values() if node["resource_type"] == "model")
    return {node["name"]: node for node in nodes if node["config"]["materialized"] == "delta"}


@pytest.fixture(scope="module")
def empty_lake(models: dict[str, dict[str, Any]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with every table of silver and gold as the catalogue and the contracts have it, without a row."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("create schema silver; create schema gold")
        for table in silver_tables():
            connection.execute(f"create view silver.{identifier(table)} as {empty_rows(table)}")
        for name, model in models.items():
            columns = ", ".join(f"{identifier(column)} {each['data_type']}" for column, each in model["columns"].items())
            connection.execute(f"create table gold.{identifier(name)} ({columns})")
        connection.execute(query("macros/safe_rate"))
        yield connection


def test_every_scope_of_the_project_is_known(models: dict[str, dict[str, Any]]) -> None:
    named = {model["config"].get("scope", "requests") for model in models.values()}
    assert named == set(get_args(Scope))
    assert {contract.scope_of(name) for name in named} == named


def test_an_unknown_scope_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="The scope 'request' of a gold table is unknown: use one of requests, days,"):
        contract.scope_of("request")


def test_the_macros_name_what_stands_in_the_duckdb_of_a_build() -> None:
    views, build = macros("scope"), macros("build")
    assert f'target.name == "{contract.ENGINE}"' in views
    assert f"materialization {contract.MATERIALIZED}, adapter" in macros("delta")
    assert contract.scoped_view("{{ relation.identifier }}") in views
    assert contract.scoped_view("duplicates") in views
    assert contract.feed_view("{{ relation.identifier }}") in views
    assert f"    {contract.KNOWN_ROWS}\n" in views
    assert f"from {contract.DAYS})" in views
    assert f"    {contract.TESTED_SCHEMA}.{{{{ model.identifier }}}}\n" in views
    assert f"getvariable('{contract.BUILD_VARIABLE}')" in build


def test_the_gold_tables_are_in_the_schema_that_the_profile_names() -> None:
    assert re.findall(r"^ +schema: (\w+)$", (PROJECT / "profiles.yml").read_text(), re.MULTILINE) == [contract.GOLD_SCHEMA]


def test_the_database_of_dbt_by_itself_is_where_the_profile_looks_for_it() -> None:
    assert f"env_var('{contract.DBT_DATABASE}', " in (PROJECT / "profiles.yml").read_text()


def test_the_project_reads_the_variables_that_a_build_sets() -> None:
    text = "".join(file.read_text() for folder in ("macros", "models", "tests") for file in sorted((PROJECT / folder).rglob("*.sql")))
    assert set(re.findall(r"""of_build\(["'](\w+)["']\)""", text)) == set(BuildVariables.__annotations__)


def test_queries_of_touched_keys_name_rows_that_there_are(models: dict[str, dict[str, Any]]) -> None:
    touching = {name: model["config"]["also_touched"] for name, model in models.items() if model["config"].get("also_touched")}
    assert touching
    for name, sql in touching.items():
        followed = models[name]["config"].get("touched_by") or []
        known = {contract.OWN_ROWS, *models, *map(contract.changed_view, followed)} | set(re.findall(r"(\w+) as \(", sql))
        assert set(re.findall(r"(?:from|join) (\w+)", sql)) - known == set(), name


def test_the_marts_are_found_in_the_folders_of_their_themes(models: dict[str, dict[str, Any]]) -> None:
    assert contract.marts(PROJECT) == tuple(sorted(models))
    themes = {Path(model["original_file_path"]).relative_to("models/marts").parts[0] for model in models.values()}
    assert themes == {"clients", "engagement", "failures", "feed", "jobs", "messages", "recipients"}


def test_each_model_is_described_in_a_file_of_its_own_beside_it(manifest: dict[str, Any]) -> None:
    described = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(described) > 50
    for node in described:
        assert node["patch_path"] == f"mg_lakehouse://{Path(node['original_file_path']).with_suffix('.yml').as_posix()}"
        assert node["description"], node["name"]


def test_the_environment_of_a_build_is_that_of_the_settings() -> None:
    names = (contract.LAKE_URI, contract.BUSINESS_TIMEZONE, contract.PROJECT_DIR, contract.PII_KEY)
    assert {name.removeprefix("MG_").lower() for name in names} <= set(Settings.model_fields)


@pytest.mark.parametrize("table", contract.READ)
def test_a_table_that_python_reads_has_the_columns_that_it_names(models: dict[str, dict[str, Any]], table: str) -> None:
    assert set(contract.READ[table]) - set(models[table]["columns"]) == set()


def test_every_table_that_is_named_is_one_that_is_checked() -> None:
    constants = [getattr(contract, name) for name in contract.__all__ if name.isupper()]
    assert set(contract.READ) == set(contract.marts(PROJECT)) & {constant for constant in constants if isinstance(constant, str)}


def test_exports_are_by_the_time_that_the_models_declare(models: dict[str, dict[str, Any]]) -> None:
    declared = {name: model["config"]["exported_by"] for name, model in models.items() if model["config"].get("exported_by")}
    assert declared == contract.EXPORTED_BY


@pytest.mark.parametrize("known", [DAYS_OF_JOBS, DAYS_OF_MESSAGES], ids=lambda known: known.name)
def test_the_days_of_jobs_are_dates(empty_lake: duckdb.DuckDBPyConnection, known: DaysOfJobs) -> None:
    found = empty_lake.execute(f"select request_id, {known.first_day}, {known.last_day} from gold.{known.name}")
    assert [str(column[1]) for column in found.description or []] == ["VARCHAR", "DATE", "DATE"]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("macros/", "prompt/"))])
def test_a_query_fits_the_tables_of_the_lake(empty_lake: duckdb.DuckDBPyConnection, name: str) -> None:
    cursor = empty_lake.cursor()
    cursor.execute("set search_path = 'gold,main'")  # an alert's tables have no schema
    found = cursor.execute(filled_in(query(name), VALUES))
    assert found.description


@pytest.mark.parametrize("kind", ALERTS, ids=lambda kind: kind.name)
def test_an_alert_reads_the_tables_that_it_names(empty_lake: duckdb.DuckDBPyConnection, kind: Any) -> None:
    read = set(empty_lake.get_table_names(filled_in(kind.query, VALUES)))
    assert read == {kind.table, *kind.reads}


def test_every_query_is_asked_by_somebody() -> None:
    package = Path(contract.__file__).parents[1]
    text = "".join(file.read_text() for file in sorted(package.rglob("*.py")))
    unasked = [name for name in NAMES if f'"{name}"' not in text and f'"{name.rpartition("/")[2]}"' not in text]
    assert unasked == []


def test_a_macro_of_the_lake_can_be_made_and_asked(empty_lake: duckdb.DuckDBPyConnection) -> None:
    cursor = empty_lake.cursor()
    for name in ("job", "jobs_since"):
        cursor.execute(query(f"macros/{name}"))
    assert cursor.execute("from job('b1-job')").fetchall() == []
    assert cursor.execute("from jobs_since('2026-03-01')").fetchall() == []
    assert cursor.execute("select safe_rate(1, 4), safe_rate(1, 0)").fetchall() == [(0.25, None)]
