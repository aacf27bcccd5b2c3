"""Take the README's pictures of what a person sees: `make screenshots`."""

from __future__ import annotations

import html
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from playwright.sync_api import Browser, Page, expect
from rich.console import Console
from rich.text import Text

from mg_lakehouse_tests.cli.commands import COMMAND, environment
from mg_lakehouse_tests.ui.services import browser, dashboard, dev

_IMAGES: Final = Path(__file__).resolve().parents[2] / "docs" / "images"
_COLUMNS: Final = 100
_SHARP: Final = 2


def expanded(*groups: str) -> str:
    """Groups of the asset graph whose assets are drawn, for its address."""
    return quote(",".join(f"global@global:{group}" for group in groups))


EXPANDED: Final = expanded("messagegears", "bronze", "gold")
"""All but silver, whose 21 tables are one box: they would fill the page."""


def main() -> None:
    """Run the demo, show its lake in the UI, and take the pictures."""
    _IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, browser() as chromium:
        folder = Path(name)
        said = subprocess.run(
            [COMMAND, "demo", "--seed", "2026"],
            cwd=folder,
            env=environment(folder, FORCE_COLOR="1", COLUMNS=str(_COLUMNS), DAGSTER_HOME=str(_home(folder)), MAKELEVEL="1"),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        _terminal(chromium, "$ make demo\n" + said.replace(str(folder.resolve()), "~/mg_lakehouse"), _IMAGES / "demo.png")
        with dev(folder, DAGSTER_HOME=str(_home(folder))) as running:
            page = chromium.new_page(viewport={"width": 1500, "height": 760}, base_url=running.url, device_scale_factor=_SHARP)
            page.set_default_timeout(60_000)
            _asset_graph(page)
            _asset_page(page)
        with dashboard(folder, ".lake") as url:
            _dashboard(chromium, url)


def _dashboard(chromium: Browser, url: str) -> None:
    page = chromium.new_page(viewport={"width": 1180, "height": 1_080}, base_url=url, device_scale_factor=_SHARP)
    page.set_default_timeout(60_000)
    page.goto("/")
    page.get_by_role("row").nth(3).wait_for()
    page.locator("canvas, svg.marks").first.wait_for()
    page.screenshot(path=_IMAGES / "dashboard.png")
    page.get_by_role("row").filter(has_text="email").first.get_by_role("checkbox").check()
    page.get_by_role("tab", name="One job").click()
    page.get_by_role("heading", name="Mailbox providers").wait_for()
    page.locator("canvas, svg.marks").last.wait_for()
    page.screenshot(path=_IMAGES / "dashboard-job.png")


def _home(folder: Path) -> Path:
    home = folder / ".dagster"
    home.mkdir(exist_ok=True)
    return home


def _terminal(chromium: Browser, text: str, image: Path) -> None:
    console = Console(record=True, width=_COLUMNS, file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115  ends with us
    console.print(Text.from_ansi(text))
    code = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
    style = (
        "body{margin:0;display:inline-block;background:#0f1117} pre{margin:24px;font:14px/1.35 'DejaVu Sans Mono',monospace;color:#d8dee9}"
    )
    page = chromium.new_page(device_scale_factor=_SHARP)
    page.set_content(f"<style>{html.escape(style, quote=False)}</style>{code}")
    page.locator("body").screenshot(path=image)
    page.close()


def _asset_graph(page: Page) -> None:
    page.set_viewport_size({"width": 1500, "height": 1800})
    page.goto(f"/asset-groups?expanded={EXPANDED}")
    expect(page.get_by_text("job_metrics", exact=True).first).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=_IMAGES / "asset-graph.png")


def _asset_page(page: Page) -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto("/assets/gold/job_metrics")
    for text in ("Row count", "Every count and rate of a job.", "Last materialized"):
        expect(page.get_by_text(text).first).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=_IMAGES / "asset-page.png")


if __name__ == "__main__":
    main()
