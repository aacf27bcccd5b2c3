"""Somebody who follows the page to the letter, in a copy of the package, has the new table."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from mg_lakehouse.gold.project import ensure_manifest
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.cli.commands import environment
from mg_lakehouse_tests.docs.consoles import blocks, fenced, look
from mg_lakehouse_tests.docs.pages import DOCS

ROOT = DOCS.parent
PAGE = DOCS / "new-event-type.md"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its dbt project, and the command of that copy in ``bin``; the lake of both tests is beside them."""
    tmp_path = tmp_path_factory.mktemp("copy")
    for name in ("mg_lakehouse", "dbt_project"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "logs", "target"))
    (tmp_path / "dbt_project" / "target").mkdir()
    # What dbt parsed of the original: half of the time of compiling the copy.
    shutil.copy(ensure_manifest(Settings()).parents[1] / "compile-partial_parse.msgpack", tmp_path / "dbt_project" / "target")
    command = tmp_path / "bin" / "mg-lakehouse"
    command.parent.mkdir()
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom mg_lakehouse.cli.app import main\nmain()\n"
    )
    command.chmod(0o755)
    return tmp_path


@pytest.mark.slow
def test_one_entry_makes_a_table_of_what_was_unrecognized(copy: Path) -> None:
    reader = environment(copy, PATH=f"{copy / 'bin'}{os.pathsep}{os.environ['PATH']}", PYTHONPATH=str(copy), COLUMNS="160")
    (_, sample), _ = fenced(PAGE, "xml")
    (_, entry), _ = fenced(PAGE, "python")
    (copy / "wallet.xml").write_text(sample)
    for each in blocks(PAGE, "before"):
        look(each, copy, reader)
    catalogue = copy / "mg_lakehouse" / "events" / "catalogue.py"
    head, place, tail = catalogue.read_text().partition('    Event(\n        "unrecognized_activities",')
    catalogue.write_text(head + entry + place + tail)
    for each in blocks(PAGE, "after"):
        look(each, copy, reader)


@pytest.mark.slow
def test_one_line_makes_a_column_of_what_was_rescued(copy: Path) -> None:
    reader = environment(copy, PATH=f"{copy / 'bin'}{os.pathsep}{os.environ['PATH']}", PYTHONPATH=str(copy), COLUMNS="160")
    _, (_, sample) = fenced(PAGE, "xml")
    _, (_, line) = fenced(PAGE, "python")
    (copy / "themes.xml").write_text(sample)
    for each in blocks(PAGE, "column-before"):
        look(each, copy, reader)
    catalogue = copy / "mg_lakehouse" / "events" / "catalogue.py"
    entry = '        "clicks",\n'
    head, place, tail = catalogue.read_text().partition(entry)
    before, columns, after = tail.partition('            Column("url"')
    assert columns
    catalogue.write_text(head + place + before + line + columns + after)
    for each in blocks(PAGE, "column-after"):
        look(each, copy, reader)
