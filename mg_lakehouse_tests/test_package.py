"""The package as it is installed: everything it needs at run time is in the wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_package_is_listed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "mg_lakehouse").rglob("__init__.py")}
    assert listed == found | {"mg_lakehouse.dbt_project"}


@pytest.mark.slow
def test_the_wheel_has_the_dbt_project_and_the_samples(tmp_path: Path) -> None:
    # Built from a copy: a build leaves a folder behind that would go into the next wheel.
    source = tmp_path / "source"
    for name in ("mg_lakehouse", "dbt_project"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "logs"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)],
        # Nobody runs what is compiled here, and the compiler's optimizations took ten of twenty seconds.
        env=os.environ | {"CFLAGS": "-O0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = [
        path.relative_to(ROOT) for folder in ("models", "macros", "seeds", "tests") for path in (ROOT / "dbt_project" / folder).rglob("*")
    ]
    expected = {f"mg_lakehouse/{path.as_posix()}" for path in sources if (ROOT / path).is_file()}
    expected |= {"mg_lakehouse/dbt_project/dbt_project.yml", "mg_lakehouse/dbt_project/profiles.yml", "mg_lakehouse/dagster.yaml"}
    expected |= {"mg_lakehouse/testing/samples/01_ClickActivity.xml", "mg_lakehouse/py.typed"}
    expected |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "mg_lakehouse" / "serving" / "queries").rglob("*.sql")}
    assert len(expected) > 140
    assert expected - names == set()
    assert [name for name in names if re.fullmatch(r"mg_lakehouse/events/fast/_scan\..*\.so", name)], "the fast path was not compiled"
    assert [name for name in names if re.fullmatch(r"mg_lakehouse/events/_item_count\..*\.so", name)], "the count of items was not compiled"
    assert not [name for name in names if "/target/" in name or "mg_lakehouse_tests" in name]


def test_pins_hold_versions_and_no_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(lines) > 100
    assert [line for line in lines if "==" not in line or "://" in line or line.startswith("-")] == []


def test_the_version_is_the_newest_of_the_changelog() -> None:
    """`make release` takes its notes from there."""
    unreleased, newest, *_ = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert unreleased == "Unreleased"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d{{2}}-\d{{2}}", newest)
