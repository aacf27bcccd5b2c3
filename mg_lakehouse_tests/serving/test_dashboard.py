"""The dashboard in a browser: jobs and their funnel, one job in depth, filters, a phone, light and dark, an empty lake, and what was built a moment ago."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from mg_lakehouse._util.escaping import visible
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.dashboard import questions
from mg_lakehouse.serving.dashboard.charts import heading
from mg_lakehouse.serving.sandbox.sandbox import ad_hoc
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.cli.commands import process, sentence
from mg_lakehouse_tests.gold.helpers import Event, append, build, event
from mg_lakehouse_tests.ui.services import browser, dashboard
from mg_lakehouse_tests.util.hostile import HOSTILE
from mg_lakehouse_tests.waiting import wait_until

pytestmark = pytest.mark.ui

SHOWN = (
    "dim_jobs",
    "job_metrics",
    "engagement_curve",
    "bounce_days",
    "domain_days",
    "link_metrics",
    "job_errors",
    "render_errors",
    "suppression_list",
    "feed_health_hourly",
)
BUILD = " ".join(SHOWN)


def job(request: str, category: str, *, accepted: int, bounced: int, opened: int) -> list[Event]:
    about: dict[str, Any] = {"request": request, "correlation_id": f"Job {request}", "job_category": category}
    people = [f"p{number}@gmail.com" for number in range(accepted + bounced)]
    return [
        *(event("deliveries", email=one, **about) for one in people[:accepted]),
        *(event("bounces", email=one, category="Invalid Recipient", category_code=10, **about) for one in people[accepted:]),
        *(event("opens", 600, email=one, user_agent="Outlook-iOS/723.4 (4.28.0)", **about) for one in people[:opened]),
    ]


ERROR_CODES = ("Transfer Error", "ann@corp.example", "Call 555-000-1111", None)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two jobs: nine of twelve messages accepted and four opened in one, five of five and none in the other, which had errors."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    append(
        lake,
        [
            *job("b1-news", "Newsletter", accepted=9, bounced=3, opened=4),
            *job("b2-offer", "Promotion", accepted=5, bounced=0, opened=0),
            *(event("job_errors", request="b2-offer", errors=[{"error_code": code, "error_message": "boom"}]) for code in ERROR_CODES),
        ],
    )
    build(lake, select=BUILD)
    return lake


@pytest.fixture(scope="module")
def url(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard(tmp_path_factory.mktemp("folder"), lake.root) as served:
        yield served


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@contextmanager
def page(chromium: Browser, url: str) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1_280, "height": 1_400}, color_scheme="light")
    context.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    opened = context.new_page()
    outside: list[str] = []
    opened.on(
        "request", lambda asked: outside.append(asked.url) if not re.match(rf"({re.escape(url)}|data:|blob:|ws://127)", asked.url) else None
    )
    opened.goto(url)
    yield opened
    assert outside == []
    context.close()


@pytest.fixture(scope="module")
def shared(chromium: Browser, url: str) -> Iterator[Page]:
    """One page for all tests that leave it as it is, but for the tab: a page takes seconds to load."""
    with page(chromium, url) as opened:
        yield opened


@pytest.fixture
def jobs(shared: Page) -> Page:
    """The page with its first tab open."""
    shared.get_by_role("tab", name="Jobs", exact=True).click()
    return shared


def row(opened: Page, job: str) -> Locator:
    """A job's row in the table of jobs."""
    return opened.get_by_role("row").filter(has_text=job)


def test_jobs_and_their_funnel(jobs: Page) -> None:
    expect(row(jobs, "Job b1-news")).to_be_visible()
    expect(row(jobs, "Job b2-offer")).to_be_visible()
    # 14 of 17 were accepted, 3 bounced for good, 4 of the 14 were opened by a person.
    for shown in ("82.4%", "14 of the attempted", "17.6%", "3 hard bounces", "28.6%"):
        expect(jobs.get_by_text(shown, exact=True).first).to_be_visible()


def test_one_job_in_depth(jobs: Page) -> None:
    row(jobs, "Job b1-news").get_by_role("checkbox").check()
    jobs.get_by_role("tab", name="One job").click()
    expect(jobs.get_by_role("heading", name="Job b1-news")).to_be_visible()
    for theme in ("Engagement by age", "What bounced, and why", "Mailbox providers", "Links", "Errors"):
        expect(jobs.get_by_role("heading", name=theme)).to_be_visible()
    expect(jobs.get_by_text("gmail").first).to_be_visible()
    expect(jobs.locator("svg, canvas").first).to_be_visible()


def test_the_other_pages(shared: Page) -> None:
    shared.get_by_role("tab", name="Bounces").click()
    expect(shared.get_by_role("heading", name="By category")).to_be_visible()
    shared.get_by_role("tab", name="Suppression list").click()
    expect(shared.get_by_text("hard_bounce").first).to_be_visible()
    expect(shared.get_by_text("@gmail.com")).to_have_count(0)
    shared.get_by_role("tab", name="Feed").click()
    expect(shared.get_by_role("heading", name="Received by hour")).to_be_visible()


def test_it_fits_a_phone(jobs: Page) -> None:
    expect(jobs.get_by_text("14 of the attempted", exact=True)).to_be_visible()
    jobs.set_viewport_size({"width": 390, "height": 1_400})
    expect(jobs.get_by_text("14 of the attempted", exact=True)).to_be_visible()
    wait_until(lambda: jobs.evaluate("document.documentElement.scrollWidth") <= 390, seconds=60)
    jobs.set_viewport_size({"width": 1_280, "height": 1_400})


def brightness_of_letters(opened: Page) -> int:
    colour = opened.evaluate("getComputedStyle(document.querySelector('h1')).color")
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3])


def test_it_is_dark_where_its_reader_is(jobs: Page) -> None:
    expect(row(jobs, "Job b1-news")).to_be_visible()
    assert brightness_of_letters(jobs) < 200
    jobs.emulate_media(color_scheme="dark")
    wait_until(lambda: brightness_of_letters(jobs) > 500, seconds=60)
    jobs.emulate_media(color_scheme="light")


def test_a_category_leaves_its_jobs(jobs: Page) -> None:
    """It stays chosen: the job that comes with the next test has it."""
    expect(row(jobs, "Job b2-offer")).to_be_visible()
    jobs.get_by_text("Select...").first.click()
    jobs.get_by_role("option", name="Newsletter").click()
    expect(jobs.get_by_text("9 of the attempted", exact=True)).to_be_visible()
    expect(row(jobs, "Job b2-offer")).to_have_count(0)


def test_what_was_built_a_moment_ago_is_there_with_the_next_refresh(jobs: Page, lake: Lake) -> None:
    expect(row(jobs, "Job b1-news")).to_be_visible()
    append(lake, job("b3-late", "Newsletter", accepted=2, bounced=0, opened=0))
    build(lake, select=BUILD)
    jobs.locator("marimo-refresh").get_by_role("button").first.click()
    expect(row(jobs, "Job b3-late")).to_be_visible()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Every text of the corpus as the name of a job, a category, a link and an error."""
    lake = Lake(str(tmp_path_factory.mktemp("hostile")))
    texts = [text for text in HOSTILE if chr(0xDCFF) not in text]
    events: list[Event] = []
    for number, text in enumerate(texts):
        about: dict[str, Any] = {"request": f"b{number}", "correlation_id": text, "job_category": text, "campaign_id": text}
        events += [
            event("deliveries", email=f"p{number}@gmail.com", **about),
            event("bounces", email=f"q{number}@gmail.com", category=text, **about),
            event("clicks", 600, email=f"p{number}@gmail.com", url_name=text, url="https://evil.example/x.png", **about),
            event("job_errors", errors=[{"error_code": text, "error_message": "boom"}], **about),
        ]
    append(lake, events)
    build(lake, select=BUILD)
    with dashboard(tmp_path_factory.mktemp("hostile-folder"), lake.root) as served:
        yield served


_MARKED = """() => {
    const found = [];
    const walk = (root) => {
        found.push(...root.querySelectorAll("marimo-tex, .katex, iconify-icon, td a, td img, td strong, h2 *, [role=option] *:not(span):not(div):not(svg):not(path)"));
        root.querySelectorAll("*").forEach((each) => each.shadowRoot && walk(each.shadowRoot));
    };
    walk(document);
    return found.map((each) => each.outerHTML.slice(0, 200));
}"""
"""What markup would have made of the texts, within marimo's elements too."""


def wait_for_other_rows(opened: Page, shown: list[str]) -> None:
    """The button of the next page answers before the rows do."""
    wait_until(lambda: opened.locator("td").all_inner_texts() not in (shown, []), seconds=60)


def test_texts_of_events_are_text_on_every_page(chromium: Browser, hostile: str) -> None:
    """The page asks nobody outside: `page` looks at that. A picture's address in a job's name was fetched."""
    with page(chromium, hostile) as opened:
        seen: set[str] = set()
        while True:
            opened.locator("td").first.wait_for()
            shown = opened.locator("td").all_inner_texts()
            seen |= set(shown)
            assert opened.evaluate(_MARKED) == []
            following = opened.get_by_test_id("next-page-button").first
            if following.is_disabled():
                break
            following.click()
            wait_for_other_rows(opened, shown)
        for text in ("[A/B] test", "::lucide:rocket::", "[bold red]x[/]", "\\u202egnp.exe\\u202c", "# head", "<script>alert(1)</script>"):
            assert text in seen
        opened.get_by_test_id("first-page-button").first.click()
        opened.get_by_text("Select...").first.click()
        expect(opened.get_by_role("option").first).to_be_visible()
        assert opened.evaluate(_MARKED) == []
        opened.keyboard.press("Escape")
        opened.get_by_test_id("last-page-button").first.click()
        row(opened, '"><marimo-tex>').get_by_role("checkbox").check()
        opened.get_by_role("tab", name="One job").click()
        expect(opened.get_by_role("heading", name='"><marimo-tex>x</marimo-tex>')).to_be_visible()
        expect(opened.get_by_role("heading", name="Errors")).to_be_visible()
        assert opened.evaluate(_MARKED) == []
        for tab in ("Bounces", "Feed"):
            opened.get_by_role("tab", name=tab).click()
            expect(opened.locator("svg.marks, canvas").first).to_be_visible()
            assert opened.evaluate(_MARKED) == []


def test_the_head_of_a_job_is_its_name(chromium: Browser) -> None:
    """Every text of the corpus at once, in a page of its own."""
    context = chromium.new_context(offline=True)
    opened = context.new_page()
    asked: list[str] = []
    opened.on("request", lambda each: asked.append(each.url))
    about = {"channel": "email", "day": "2026-03-10", "maturity": "final"}
    opened.set_content("".join(heading({"job": text, "request_id": text, **about}) for text in HOSTILE))
    assert opened.locator("h2").evaluate_all("found => found.map(each => each.textContent)") == [visible(text) for text in HOSTILE]
    assert opened.locator("code").evaluate_all("found => found.map(each => each.textContent)") == [visible(text) for text in HOSTILE]
    assert asked == []
    context.close()


def test_an_error_whose_code_is_no_phrase_is_not_shown_as_it_came(lake: Lake) -> None:
    with ad_hoc(lake, Settings(lake_uri=lake.root)) as asked:
        found = questions.errors(asked, "b2-offer")
    assert sorted(found.select("code", "events").rows()) == [("(none)", 1), ("(other)", 2), ("Transfer Error", 1)]


def test_a_lake_without_gold_says_what_to_do(chromium: Browser, tmp_path: Path) -> None:
    with dashboard(tmp_path, str(tmp_path / "nothing")) as served, page(chromium, served) as opened:
        expect(opened.get_by_text("Gold was not built yet")).to_be_visible()


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = sentence(process(tmp_path, "dashboard", "--port", str(port)))
    assert said == f"Error: Port {port} of 127.0.0.1 is taken: stop what listens there, or choose another with --port."
