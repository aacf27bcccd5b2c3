"""The decision log: a file for each decision with date and status, an index in order, and no reference to a decision that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from mg_lakehouse_tests.docs.pages import DOCS

ROOT = DOCS.parent
LOG = DOCS / "decisions"
PAGES = {page.stem.partition("-")[0]: page for page in LOG.glob("*.md") if page.name != "index.md"}

_DATED = re.compile(r"Decided \d{4}-\d{2}-\d{2}(?:, changed \d{4}-\d{2}-\d{2})?\. Status: (?:accepted|superseded by)\b[^\n]*\.")


def in_order(identifier: str) -> tuple[str, int]:
    return identifier[0], int(identifier[1:])


IN_ORDER = sorted(PAGES, key=in_order)


@pytest.mark.parametrize("identifier", IN_ORDER)
def test_each_decision_has_a_title_a_date_a_status_and_a_reason(identifier: str) -> None:
    title, blank, dated, blank_too, *reason = PAGES[identifier].read_text().splitlines()
    assert title.startswith(f"# {identifier} · ")
    assert (blank, blank_too) == ("", "")
    assert _DATED.fullmatch(dated), dated
    assert "".join(reason).strip()


def test_the_index_has_each_decision_once_under_its_title_in_order() -> None:
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", (LOG / "index.md").read_text(), re.MULTILINE)
    assert {name for _, name in listed} == {page.name for page in PAGES.values()}
    assert len(listed) == len(PAGES)
    for text, name in listed:
        assert (LOG / name).read_text().startswith(f"# {text}\n")
    identifiers = [text.split()[0] for text, _ in listed]
    for series in {identifier[0] for identifier in identifiers}:
        of_series = [identifier for identifier in identifiers if identifier[0] == series]
        assert of_series == sorted(of_series, key=in_order)


def test_code_and_docs_refer_to_decisions_that_are_there() -> None:
    named = set(references())
    assert len(named) > 10
    assert {(file, identifier) for file, identifier in named if identifier not in PAGES} == set()


def references() -> Iterator[tuple[str, str]]:
    """Where something says "decision G45" or "decisions G7 and G8", and which decisions it names."""
    folders = ("mg_lakehouse", "mg_lakehouse_tests", "benchmarks", "dbt_project/macros", "dbt_project/models", "docs")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix in {".py", ".pyx", ".sql", ".yml", ".md"}]
    for file in files:
        for sentence in re.findall(r"[Dd]ecisions? \[?([A-Z]\d+(?:(?:, | and | to )[A-Z]\d+)*)", file.read_text()):
            yield from ((str(file.relative_to(ROOT)), identifier) for identifier in re.findall(r"[A-Z]\d+", sentence))


def test_the_tests_refer_to_decisions_that_are_there() -> None:
    """The oracle names them in parentheses: (G5), (G33 to G35)."""
    for file in (ROOT / "mg_lakehouse_tests").rglob("*.py"):
        for inside in re.findall(r"\(((?:[GS]\d+(?:,| and| to)? ?)+)\)", file.read_text()):
            assert set(re.findall(r"[GS]\d+", inside)) <= set(PAGES), file.name
