"""The dbt project as the engine sees it: each gold table's SQL, what it reads, and the tests of its rows.

dbt stays the source. ``dbt compile`` runs once for each content of the project, in a process of its own, and its manifest is kept; a build reads
that and starts no dbt. What belongs here: where the project is, its manifest, and what the manifest says. What does not: which rows a model reads
(:mod:`mg_lakehouse.gold.planner`) and the build itself (:mod:`mg_lakehouse.gold.engine`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import duckdb
import yaml

from mg_lakehouse._util.temp_folders import OwnFolder
from mg_lakehouse._util.user_folders import is_ready, own_folder_in, xdg_folder
from mg_lakehouse.errors import ConfigurationError, PermanentError
from mg_lakehouse.gold import addresses, user_agents
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.contract import (
    BUSINESS_TIMEZONE,
    DBT_DATABASE,
    ENGINE,
    GOLD_SCHEMA,
    LAKE_URI,
    MATERIALIZED,
    PII_KEY,
    scope_of,
    with_packages,
)
from mg_lakehouse.gold.model import Input, Model
from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.gold.pii_key import pii_key
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings

__all__ = ["ModelNode", "Project", "TestNode", "compiled_project", "definitions", "ensure_manifest", "generate_docs", "target_dir"]

_PARTIAL_PARSE: Final = "partial_parse.msgpack"
_MANIFEST: Final = "manifest.json"
_TARGET: Final = "target"
_MANIFESTS: Final = "engine"
_KEPT_MANIFESTS: Final = 12
"""Manifests of other contents and variables that stay: a project may be edited to and fro, or built with values of one's own."""

_SOURCE_SUFFIXES: Final = frozenset({".sql", ".yml", ".csv", ".md"})
_CONFIGURED: Final = (
    "days_after", "days_before", "also_touched", "touched_by", "counts_duplicates", "reads", "keys", "replaced_by", "exported_by", "orphan_day", "grows",
)  # fmt: skip
"""What a model's ``config()`` says of its rows, by the names of :class:`mg_lakehouse.gold.model.Model`."""

_PROFILE: Final = {"target": ENGINE, "outputs": {ENGINE: {"type": "duckdb", "path": ":memory:", "schema": GOLD_SCHEMA, "threads": 2}}}


@dataclass(frozen=True, slots=True)
class ModelNode:
    """A gold table: its compiled SQL, the columns of its contract with DuckDB's types, and the files of the seeds that it reads."""

    unique_id: str
    model: Model
    sql: str
    columns: tuple[tuple[str, str], ...]
    seeds: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The table's name."""
        return self.model.name


@dataclass(frozen=True, slots=True)
class TestNode:
    """A data test: ``sql`` selects the rows that fail it. ``models`` are the gold tables that it reads."""

    __test__ = False

    unique_id: str
    name: str
    sql: str
    models: frozenset[str]
    severity: str
    fail_calc: str
    warn_if: str
    error_if: str

    @property
    def query(self) -> str:
        """SQL of one row: the name, how many rows fail, and whether that is to be warned of and is an error."""
        counted = f"select {self.fail_calc} as failures from ({self.sql})"
        return (
            f"select '{self.name}' as name, failures, failures {self.warn_if} as warns, failures {self.error_if} as fails from ({counted})"
        )


@dataclass(frozen=True, slots=True)
class Project:
    """The compiled project: its gold tables, each after those that it reads, their tests, and the files of the seeds by name."""

    models: Mapping[str, ModelNode]
    tests: tuple[TestNode, ...]
    seeds: Mapping[str, Path]

    def ancestors(self, name: str) -> frozenset[str]:
        """The gold tables that a gold table is made of, directly or not."""
        inputs = {each.name for each in self.models[name].model.gold}
        return frozenset(inputs.union(*(self.ancestors(each) for each in inputs)))

    def tests_of(self, models: Collection[str]) -> list[TestNode]:
        """The tests that read some gold tables, and beside them only what those are made of: dbt's indirect selection `buildable`."""
        known = frozenset(models).union(*map(self.ancestors, models))
        return [test for test in self.tests if test.models <= known and not test.models.isdisjoint(models)]


def target_dir(settings: Settings) -> Path:
    """Where dbt's artefacts go: ``MG_CACHE_DIR``, else `target` in the project, else the user's cache, else the folder for temporary files.

    Raises:
        ConfigurationError: there is no project, or ``MG_CACHE_DIR`` cannot be written.
        PermanentError: none of them can be written.
    """
    if (chosen := settings.cache_dir) is not None:
        if not is_ready(chosen):
            raise ConfigurationError(f"MG_CACHE_DIR, {chosen}, cannot be written: choose another folder, or unset it.")
        return chosen
    project = project_dir(settings)
    if os.access(target if (target := project / _TARGET).exists() else project, os.W_OK):
        return target
    if (cache := xdg_folder("XDG_CACHE_HOME", "mg-lakehouse/dbt-target")) is not None and is_ready(cache):
        return cache
    try:
        return own_folder_in(Path(tempfile.gettempdir()), "mg-lakehouse-cache")
    except OSError as error:
        raise PermanentError(
            f"No folder for what is made of the dbt project can be written ({error.strerror or type(error).__name__}): name one with MG_CACHE_DIR."
        ) from error


def ensure_manifest(settings: Settings, variables: Mapping[str, Any] | None = None) -> Path:
    """The manifest of the project as it stands, with the compiled SQL of each model and test. It is made where there is none. Reads no table.

    The name is that of the content, so a manifest is never half written and never of another content than it says: a code location may be loaded,
    or a build begin, while the project is edited.

    Raises:
        ConfigurationError: there is no project.
        PermanentError: the project does not compile.
    """
    project = project_dir(settings)
    name = f"{_content(project, variables)}.json"
    kept = target_dir(settings)
    manifests = kept / _MANIFESTS
    manifest = manifests / name
    # An image may have been built with the manifest in the project, and be run by whoever cannot write there.
    for made in (manifest, project / _TARGET / _MANIFESTS / name):
        if made.is_file():
            with suppress(OSError):  # the folder may belong to somebody else
                os.utime(made)
            return made
    try:
        _compile(project, kept, manifest, variables)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise PermanentError(
            f"What is made of the dbt project cannot be written to {kept} ({why}): free some space, or name another folder with MG_CACHE_DIR."
        ) from error
    with suppress(FileNotFoundError):  # another process removes the same
        for old in sorted(manifests.glob("*.json"), key=lambda file: file.stat().st_mtime)[:-_KEPT_MANIFESTS]:
            old.unlink()
    return manifest


def _compile(project: Path, kept: Path, manifest: Path, variables: Mapping[str, Any] | None) -> None:
    """Write the manifest of the project."""
    with _own_target(kept, "compile") as target:
        _write_profile(project, target)
        arguments = ["compile", "--profiles-dir", str(target), "--target", ENGINE]
        arguments += ["--vars", json.dumps(dict(variables))] if variables else []
        done = _run_dbt(project, arguments, target)
        if done.returncode != 0 or not (target / _MANIFEST).is_file():
            raise PermanentError(
                f"The dbt project {project} does not compile: {_last_lines(done.stdout)} Run `dbt compile --project-dir {project}` to see more."
            )
        manifest.parent.mkdir(parents=True, exist_ok=True)
        (target / _MANIFEST).replace(manifest)


def compiled_project(settings: Settings, variables: Mapping[str, Any] | None = None) -> Project:
    """The project as it stands. Read once in a process as long as it is not edited.

    Raises:
        ConfigurationError: there is no project, or a model names an unknown scope.
        PermanentError: the project does not compile.
    """
    return _read(ensure_manifest(settings, variables))


def definitions(project: Project, *, business_timezone: str, key: bytes) -> dict[str, int]:
    """By gold table the digest of all that its numbers depend on beside the events.

    That is its compiled SQL, its configuration, its seeds, and the digests of the gold tables that it reads; where the SQL names them, the business
    time zone, the key of the hashes and the table of user agents too. So a change rebuilds what depends on it and nothing else.
    """
    named: dict[str, str | bytes] = {
        "'business_timezone'": business_timezone,
        "'hmac_inner'": key,
        "parse_user_agent": user_agents.definition(),
        "canonical_address": addresses.definition(),
    }
    found: dict[str, int] = {}
    for name, node in project.models.items():
        model = node.model
        said = repr([getattr(model, field) for field in ("scope", "silver", *_CONFIGURED)])
        found[name] = gold.digest(
            node.sql,
            said,
            *(file.read_bytes() for file in node.seeds),
            *(value for text, value in named.items() if text in node.sql or text in said),
            *(str(found[each.name]) for each in model.gold),
        )
    return found


def generate_docs(lake: Lake, settings: Settings, file: Path) -> None:
    """Write dbt's documentation of the project as one page: models, columns, tests, lineage, and the tables that stand in the lake.

    Raises:
        ConfigurationError: there is no project, or no key of the addresses' hashes.
        PermanentError: dbt could not make it.
    """
    project = project_dir(settings)
    pii_key(settings, lake)  # dbt would say so below a page of its own stack
    environment = {
        LAKE_URI: lake.root,
        BUSINESS_TIMEZONE: settings.business_timezone,
        PII_KEY: "" if settings.pii_key is None else settings.pii_key.get_secret_value(),
        DBT_DATABASE: ":memory:",
    }
    with _own_target(target_dir(settings), "docs") as target:
        done = _run_dbt(project, ["docs", "generate", "--static"], target, environment)
        page = target / "static_index.html"
        if done.returncode != 0 or not page.is_file():
            raise PermanentError(f"dbt could not document the project {project}: {_last_lines(done.stdout)}")
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, file)


@lru_cache(maxsize=4)
def _read(manifest: Path) -> Project:
    document = json.loads(manifest.read_bytes())
    nodes = document["nodes"]
    gold_nodes = {node["name"]: node for node in nodes.values() if _is_gold(node)}
    inputs = {name: _inputs(document, node) for name, node in gold_nodes.items()}
    order = TopologicalSorter({name: sorted(found.gold) for name, found in sorted(inputs.items())}).static_order()
    models = {name: _model_node(gold_nodes[name], inputs[name], gold_nodes) for name in order}
    tests = [_test_node(document, node) for node in nodes.values() if node["resource_type"] == "test"]
    seeds = {node["name"]: _seed_file(node) for node in nodes.values() if node["resource_type"] == "seed"}
    return Project(models, tuple(test for test in tests if test.models), seeds)


@dataclass(slots=True)
class _Inputs:
    """What a node reads, through the ephemeral models between: silver tables, gold tables, seeds."""

    silver: set[str]
    gold: set[str]
    seeds: set[Path]


def _is_gold(node: Mapping[str, Any]) -> bool:
    return bool(node["resource_type"] == "model" and node["config"]["materialized"] == MATERIALIZED)


def _inputs(document: Mapping[str, Any], node: Mapping[str, Any]) -> _Inputs:
    found = _Inputs(set(), set(), set())
    for unique_id in node["depends_on"]["nodes"]:
        kind = unique_id.partition(".")[0]
        if kind == "source":
            found.silver.add(document["sources"][unique_id]["name"])
        elif kind == "seed":
            found.seeds.add(_seed_file(document["nodes"][unique_id]))
        elif _is_gold(read := document["nodes"][unique_id]):
            found.gold.add(read["name"])
        else:
            below = _inputs(document, read)
            found.silver |= below.silver
            found.gold |= below.gold
            found.seeds |= below.seeds
    return found


def _seed_file(node: Mapping[str, Any]) -> Path:
    return Path(node["root_path"], node["original_file_path"])


def _model_node(node: Mapping[str, Any], inputs: _Inputs, gold_nodes: Mapping[str, Mapping[str, Any]]) -> ModelNode:
    config = node["config"]
    columns = [{name: column[name] for name in ("name", "data_type", "description")} for column in node["columns"].values()]
    spec = gold.gold_spec(
        node["name"],
        columns,
        stats_columns=config["stats_columns"],
        description=node["description"],
        has_change_feed=config.get("change_feed", True),
    )
    configured = ((name, config[name]) for name in _CONFIGURED if config.get(name) is not None)
    own: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in configured}
    model = Model(
        spec=spec,
        scope=scope_of(config.get("scope") or "requests"),
        silver=tuple(sorted(inputs.silver)),
        gold=tuple(Input(name, gold_nodes[name]["config"].get("orphan_day")) for name in sorted(inputs.gold)),
        **own,
    )
    types = tuple((column["name"], str(duckdb.sqltype(column["data_type"]))) for column in columns)
    return ModelNode(node["unique_id"], model, node["compiled_code"], types, tuple(sorted(inputs.seeds)))


def _test_node(document: Mapping[str, Any], node: Mapping[str, Any]) -> TestNode:
    config = node["config"]
    return TestNode(
        node["unique_id"],
        node["name"],
        node["compiled_code"],
        frozenset(_inputs(document, node).gold),
        config["severity"].lower(),
        config["fail_calc"],
        config["warn_if"],
        config["error_if"],
    )


def _content(project: Path, variables: Mapping[str, Any] | None) -> str:
    """Digest of all that the compiled project depends on."""
    parts = [folder / part for folder in with_packages(project) for part in ("models", "macros", "seeds", "tests")]
    files = [folder / "dbt_project.yml" for folder in with_packages(project)]
    files += [file for part in parts for file in part.rglob("*") if file.suffix in _SOURCE_SUFFIXES]
    sha = hashlib.sha256(json.dumps([_PROFILE, *map(version, ("dbt-core", "dbt-duckdb")), str(project), variables or {}]).encode())
    for file in sorted(files):
        content = file.read_bytes()
        sha.update(f"{file}\0{len(content)}\0".encode() + content)
    return sha.hexdigest()[:20]


def _write_profile(project: Path, folder: Path) -> None:
    """A profile for compiling alone: it opens no lake, and its target tells the macros whom the SQL is for."""
    named = yaml.safe_load((project / "dbt_project.yml").read_text())["profile"]
    (folder / "profiles.yml").write_text(yaml.safe_dump({named: _PROFILE}))


@contextmanager
def _own_target(kept: Path, label: str) -> Iterator[Path]:
    """The folder that one run of dbt writes to: of two with one folder, each would read what the other wrote, or half of it.

    It begins with what the run before it parsed, and hands on what it parsed itself.
    """
    parsed = kept / f"{label}-{_PARTIAL_PARSE}"
    with OwnFolder(kept, "gold-run-", label=f"{label}-") as folder:
        with suppress(FileNotFoundError):
            shutil.copyfile(parsed, folder.path / _PARTIAL_PARSE)
        yield folder.path
        with suppress(FileNotFoundError):
            (folder.path / _PARTIAL_PARSE).replace(parsed)


def _run_dbt(
    project: Path, arguments: Sequence[str], target: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    own = {
        "DBT_PROJECT_DIR": str(project),
        "DBT_PROFILES_DIR": str(project),
        "DBT_TARGET_PATH": str(target),
        "DBT_LOG_PATH": str(target / "logs"),
        "DBT_LOG_LEVEL_FILE": "none",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_VERSION_CHECK": "false",
        "DO_NOT_TRACK": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "--quiet", "--no-use-colors", *arguments],
        env=os.environ | own | dict(environment or {}),
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )


def _last_lines(output: str) -> str:
    return " ".join(output.split())[-500:]
