"""The dbt project: where it is, what environment it needs, its manifest, and a build in a process of its own.

What the models mean is in the project itself; how a model becomes a Delta table is
:mod:`mg_lakehouse.gold.dbt_plugin`. Dagster runs the same project with the same environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from mg_lakehouse._util.temp_folders import OwnFolder
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.gold.contract import BUSINESS_TIMEZONE, GOLD_PART_ROWS, LAKE_URI, PII_KEY, PROJECT_DIR
from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.gold.pii_key import pii_key
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings

__all__ = [
    "NOT_BUILT",
    "BuildResult",
    "NodeResult",
    "build",
    "dbt_environment",
    "ensure_manifest",
    "generate_docs",
    "key_environment",
    "run_folder",
    "target_dir",
]

_PARTIAL_PARSE: Final = "partial_parse.msgpack"
_PARSED_SUFFIXES: Final = frozenset({".sql", ".yml", ".csv", ".md"})
NOT_BUILT: Final = ("resource_type:seed", "resource_type:unit_test", "resource_type:exposure")
"""The plugin loads the seeds into every connection; unit tests check the code, not the data; exposures only say who reads."""


class NodeResult(NamedTuple):
    """What became of one node: ``status`` is dbt's (`success`, `pass`, `warn`, `fail`, `error`, `skipped`)."""

    unique_id: str
    status: str
    seconds: float
    message: str | None
    failures: int | None


class BuildResult(NamedTuple):
    """What became of a build: dbt's exit code, its nodes by unique id, and what it printed."""

    returncode: int
    nodes: Mapping[str, NodeResult]
    output: str

    @property
    def ok(self) -> bool:
        """Whether every node succeeded."""
        return self.returncode == 0


def target_dir(project: Path) -> Path:
    """Where dbt's artefacts go: `target` in the project, or a folder of the user's cache where that is not writable."""
    target = project / "target"
    if os.access(target if target.exists() else project, os.W_OK):
        return target
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "mg-lakehouse" / "dbt-target"


def run_folder(project: Path, label: str) -> OwnFolder:
    """A folder for the artefacts of one run, which nothing reads later. What killed runs left is removed."""
    return OwnFolder(target_dir(project), "gold-run-", label=f"{label}-")


def dbt_environment(settings: Settings, lake: Lake | None = None) -> dict[str, str]:
    """The environment variables that dbt needs on top of its caller's, without the key: see `key_environment`."""
    project = project_dir(settings)
    return {
        LAKE_URI: (lake or Lake(settings.lake_uri)).root,
        BUSINESS_TIMEZONE: settings.business_timezone,
        GOLD_PART_ROWS: str(settings.gold_part_rows),
        PROJECT_DIR: str(project),
        "DBT_PROFILES_DIR": str(project),
        "DBT_PROJECT_DIR": str(project),
        "DBT_TARGET_PATH": str(target_dir(project)),
        "DBT_LOG_PATH": str(target_dir(project) / "logs"),
        # dbt's log of everything took a sixth of a small build, and goes with the build's folder. What failed and why is in the results.
        "DBT_LOG_LEVEL_FILE": os.environ.get("DBT_LOG_LEVEL_FILE", "none"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_VERSION_CHECK": "false",
        "DO_NOT_TRACK": "1",
    }


def key_environment(settings: Settings, lake: Lake) -> dict[str, str]:
    """The key as an environment variable, for the process of a build and no other.

    It is empty where the lake keeps its own: another feed's may stand in the environment of the caller.

    Raises:
        ConfigurationError: the lake has no key. dbt would say so below a page of its own stack.
    """
    pii_key(settings, lake)
    return {PII_KEY: "" if settings.pii_key is None else settings.pii_key.get_secret_value()}


def ensure_manifest(settings: Settings) -> Path:
    """The manifest, made with `dbt parse` where it is missing or older than a file of the project. Reads no table.

    It is a file that no other run of dbt writes, and comes into its place whole: a code location that was loaded while a build wrote
    `target/manifest.json` found half of it.

    Raises:
        ConfigurationError: there is no project.
        PermanentError: the project does not parse.
    """
    project = project_dir(settings)
    manifest = target_dir(project) / "parsed" / "manifest.json"
    if not manifest.is_file() or manifest.stat().st_mtime < _last_change(project):
        with _own_target(project, "parse") as target:
            done = _run_dbt(["parse"], settings, target)
            if done.returncode != 0 or not (target / manifest.name).is_file():
                raise PermanentError(f"The dbt project {project} does not parse: run `dbt parse --project-dir {project}` to see why.")
            manifest.parent.mkdir(exist_ok=True)
            (target / manifest.name).replace(manifest)
    return manifest


def build(
    lake: Lake,
    settings: Settings,
    *,
    full_refresh: bool = False,
    select: Sequence[str] = (),
    exclude: Sequence[str] = NOT_BUILT,
    variables: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> BuildResult:
    """Run `dbt build` in a process of its own and report what became of each node.

    A model that fails is reported, not raised: what it stood at stays whole, and what does not depend on it is built.

    Raises:
        ConfigurationError: there is no project, or no key of the addresses' hashes.
        PermanentError: dbt stopped before it ran anything.
    """
    project = project_dir(settings)
    key = key_environment(settings, lake)
    arguments = ["build"]
    arguments += ["--full-refresh"] if full_refresh else []
    arguments += ["--select", *select] if select else []
    arguments += ["--exclude", *exclude] if exclude else []
    arguments += ["--vars", json.dumps(dict(variables))] if variables else []
    with _own_target(project, "build") as target:
        done = _run_dbt(arguments, settings, target, lake=lake, environment=key | dict(environment or {}))
        results = target / "run_results.json"
        if not results.is_file():
            raise PermanentError(f"dbt stopped before it ran a model: {done.stdout.strip()[-2_000:]}")
        document = json.loads(results.read_text())
    return BuildResult(done.returncode, {node["unique_id"]: _node(node) for node in document["results"]}, done.stdout)


def generate_docs(lake: Lake, settings: Settings, file: Path) -> None:
    """Write dbt's documentation of the project as one page: models, columns, tests, lineage, and the tables that stand in the lake.

    Raises:
        ConfigurationError: there is no project, or no key of the addresses' hashes.
        PermanentError: dbt could not make it.
    """
    project = project_dir(settings)
    with _own_target(project, "docs") as target:
        done = _run_dbt(["docs", "generate", "--static"], settings, target, lake=lake, environment=key_environment(settings, lake))
        page = target / "static_index.html"
        if done.returncode != 0 or not page.is_file():
            raise PermanentError(f"dbt could not document the project {project}: {done.stdout.strip()[-2_000:]}")
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, file)


@contextmanager
def _own_target(project: Path, label: str) -> Iterator[Path]:
    """The folder that one run of dbt writes to: of two with one folder, each would read what the other wrote, or half of it.

    It begins with what the run before it parsed, and hands on what it parsed itself.
    """
    parsed = target_dir(project) / _PARTIAL_PARSE
    with run_folder(project, label) as folder:
        with suppress(FileNotFoundError):
            shutil.copyfile(parsed, folder.path / _PARTIAL_PARSE)
        yield folder.path
        with suppress(FileNotFoundError):
            (folder.path / _PARTIAL_PARSE).replace(parsed)


def _node(node: Mapping[str, Any]) -> NodeResult:
    return NodeResult(node["unique_id"], node["status"], node["execution_time"], node["message"], node["failures"])


def _last_change(project: Path) -> float:
    """When a file of the project was changed last. What dbt writes is left out: folders of builds come and go while one looks.

    A run failed to load its definitions because a build that ended had just removed such a folder.
    """
    return max(file.stat().st_mtime for file in _files(project) if file.suffix in _PARSED_SUFFIXES)


def _files(project: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(project):
        if Path(folder) == project:
            folders[:] = [name for name in folders if name != "target"]
        yield from (Path(folder, name) for name in names)


def _run_dbt(
    arguments: Sequence[str], settings: Settings, target: Path, *, lake: Lake | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    written = {"DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(target / "logs")}
    return subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "--no-use-colors", *arguments],
        env=os.environ | dbt_environment(settings, lake) | written | dict(environment or {}),
        cwd=project_dir(settings),
        capture_output=True,
        text=True,
        check=False,
    )
