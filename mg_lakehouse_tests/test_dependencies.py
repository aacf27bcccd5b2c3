"""What the package imports is declared, and what is declared is used: an installation has all it needs and nothing else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEVELOPMENT: Final = {"bench", "dev", "docs"}

NEVER_IMPORTED: Final = {
    "dagster-aws": "named in a dagster.yaml, or a project's own resources: logs of runs in S3, secrets",
    "dagster-graphql": "the UI's",
    "dagster-postgres": "named in a dagster.yaml",
    "dagster-webserver": "a program: the UI",
    "duckdb-extension-delta": "found by DuckDB as a file",
    "duckdb-extension-httpfs": "found by DuckDB as a file",
    "tzdata": "time zones where the system has none",
}


def test_what_is_imported_is_declared() -> None:
    undeclared = {
        f"{module} imports {name}" for module, name in imported() if not distributions(name) & declared(*set(extras()) - DEVELOPMENT)
    }
    assert undeclared == set()


def test_what_is_declared_is_imported_or_says_why_not() -> None:
    used = {distribution for _, name in imported() for distribution in distributions(name)}
    assert declared(*set(extras()) - DEVELOPMENT) - used == NEVER_IMPORTED.keys()


def imported() -> Iterator[tuple[str, str]]:
    """Modules of the package, each with the top-level packages of others that it imports, wherever in it but for type checkers alone."""
    for module in sorted((ROOT / "mg_lakehouse").rglob("*.py")):
        tree = ast.parse(module.read_text())
        for_types = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in set(ast.walk(tree)) - for_types:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names} - {"mg_lakehouse"} - sys.stdlib_module_names:
                yield str(module.relative_to(ROOT)), name


def distributions(package: str) -> set[str]:
    return {normal(name) for name in installed().get(package, ())}


@cache
def installed() -> Mapping[str, list[str]]:
    """Top-level packages, each with the distributions that bring it: some seconds, for all of the environment is read."""
    return packages_distributions()


def extras() -> dict[str, list[str]]:
    named: dict[str, list[str]] = PROJECT["optional-dependencies"]
    return named


def declared(*names: str) -> set[str]:
    """Distributions that an installation with these extras asks for."""
    lines = [*PROJECT["dependencies"], *(line for name in names for line in extras()[name])]
    return {normal(re.split(r"[\[<>=~!; ]", line, maxsplit=1)[0]) for line in lines}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
