"""Who may import whom, and who alone knows a thing. The order of the rooms itself is held by import-linter (``pyproject.toml``)."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mg_lakehouse"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(folder), "PATH": ""})


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("lake/commit.py", "from mg_lakehouse.silver.tables import silver_spec"),
        ("silver/update.py", "import mg_lakehouse.gold.commit"),
        ("gold/planner.py", "import dagster"),
        ("events/flatten.py", "import deltalake"),
        ("serving/status.py", "from mg_lakehouse.testing.samples import samples"),
    ],
)
def test_an_import_against_the_order_is_refused(tmp_path: Path, module: str, planted: str) -> None:
    shutil.copytree(PACKAGE, tmp_path / "mg_lakehouse", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.c"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "mg_lakehouse" / module
    file.write_text(f"{file.read_text()}\n{planted}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
    assert f"mg_lakehouse.{module.removesuffix('.py').replace('/', '.')} -> {planted.split()[1]}" in done.stdout.replace("\n", " ")


def imports_of(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_catalogue_is_the_only_python_that_names_an_element() -> None:
    """A new event type is one entry; a second place that knows one would be forgotten."""
    named = [
        module.name
        for module in sorted(PACKAGE.rglob("*.py"))
        if "testing" not in module.parts and module.name != "catalogue.py" and "MessageActivity" in module.read_text()
    ]
    assert named == []


def test_whoever_asks_the_lake_in_sql_comes_through_one_function() -> None:
    """A DuckDB is opened by the lake, gold and the sandbox only, so that a new way in is behind the sandbox's walls too."""
    wrong = [
        f"{module.relative_to(PACKAGE)} imports {name}"
        for module in sorted(PACKAGE.rglob("*.py"))
        if not {"lake", "gold", "serving"} & set(module.relative_to(PACKAGE).parts) or "dashboard" in module.parts
        for name in imports_of(module)
        if (name == "duckdb" or name.startswith("mg_lakehouse.serving.sandbox.answer")) and module.name != "demo.py"
    ]
    assert wrong == []
