"""What the page on testing shows is run as it stands there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mg_lakehouse_tests.docs.consoles import fenced
from mg_lakehouse_tests.docs.pages import DOCS

PAGE = DOCS / "testing.md"


def test_the_test_of_the_page_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (_, code), *_ = fenced(PAGE, "python")
    module: dict[str, Any] = {"__name__": "page"}
    exec(code, module)
    module["test_clicks_are_counted_once"](tmp_path, monkeypatch)


def test_the_other_examples_of_the_page_run() -> None:
    _, *others = fenced(PAGE, "python")
    assert len(others) == 2
    for _, code in others:
        exec(code, {"__name__": "page"})
