"""Pages that are made of the code say what the code says, and no link of any page leads nowhere."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from sphinx.cmd.build import main as build_site

from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.docs.pages import DOCS, SOURCES, dbt_sources, metrics_page, settings_page, tables_page

ROOT = DOCS.parent
OUTSIDE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")


@pytest.mark.parametrize(("name", "made"), [("settings", settings_page), ("tables", tables_page), ("metrics", metrics_page)])
def test_pages_of_the_code_are_what_it_says(name: str, made: Callable[[], str]) -> None:
    """`make pages` writes them anew."""
    assert (DOCS / f"{name}.md").read_text() == made()


def test_the_sources_of_dbt_are_what_the_catalogue_says() -> None:
    assert SOURCES.read_text() == dbt_sources()


def test_pages_name_settings_that_are_there() -> None:
    """Settings are listed on their own page; wherever else one is named, it is one of those."""
    settings = {f"MG_{name.upper()}" for name in Settings.model_fields}
    pages = [*DOCS.rglob("*.md"), *(ROOT / name for name in OUTSIDE), ROOT / ".env.example"]
    named = {(page.name, name) for page in pages for name in re.findall(r"\bMG_[A-Z]+(?:_[A-Z]+)*\b", page.read_text())}
    assert {(page, name) for page, name in named if name not in settings} == set()
    assert "settings.md" in (ROOT / "README.md").read_text()


def site(docs: Path, folder: Path) -> tuple[int, str]:
    """What `make site` runs, in this process: its exit status, and what it said on standard error."""
    said = io.StringIO()
    arguments = ["-q", "-E", "-W", "--keep-going", "-d", str(folder / "doctrees"), str(docs), str(folder / "site")]
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        return build_site(arguments), said.getvalue()


def test_the_site_is_built_without_a_warning_and_asks_no_other_server(tmp_path: Path) -> None:
    status, said = site(DOCS, tmp_path)
    assert status == 0, said
    for page in DOCS.rglob("*.md"):
        text = (tmp_path / "site" / page.relative_to(DOCS).with_suffix(".html")).read_text()
        assert re.findall(r'<(?:script|img|iframe)[^>]*src="https?:|<link[^>]*rel="stylesheet"[^>]*href="https?:', text) == [], page.name


@pytest.mark.parametrize("link", ["nowhere.md", "index.md#nowhere", "../nowhere.py", "#nowhere", "images/nowhere.png"])
def test_a_link_that_leads_nowhere_fails_the_site(tmp_path: Path, link: str) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(DOCS / "conf.py", docs)
    picture = "!" if link.endswith(".png") else ""
    (docs / "index.md").write_text(f"# A page\n\n{picture}[A link]({link})\n")
    status, said = site(docs, tmp_path)
    assert status != 0
    assert "nowhere" in said


def test_links_outside_of_the_site_lead_somewhere() -> None:
    for page in OUTSIDE:
        for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()):
            address, _, anchor = link.partition("#")
            if "://" in address:
                continue
            target = ROOT / address if address else ROOT / page
            assert target.exists(), f"{page}: {link}"
            if anchor and target.suffix == ".md":
                assert anchor in anchors(target), f"{page}: {link}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
