"""The list of breaks cannot rot: each text is found once, each test exists, and nothing is broken already."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mg_lakehouse_tests.mutations.breaks import BREAKS, Break

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.name.replace(" ", "_"))
def test_a_break_is_of_the_code_as_it_is(each: Break) -> None:
    text = (ROOT / each.file).read_text()
    assert text.count(each.text) == 1
    broken = text.replace(each.text, each.instead)
    assert broken != text
    if each.file.endswith(".py"):
        ast.parse(broken)


@pytest.mark.parametrize("test", sorted({test for each in BREAKS for test in each.tests}))
def test_a_test_that_must_see_a_break_exists(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert not name or name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_break_has_a_name_of_its_own_and_a_test() -> None:
    assert len({each.name for each in BREAKS}) == len(BREAKS)
    assert all(each.tests for each in BREAKS)
