"""Alerts over real gold: what is worth one, what is not, and the sentence that says so. Intervals reckoned by hand are in the comments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.alerts import ALERTS, Alert, Thresholds, find_alerts, share_bounds
from mg_lakehouse_tests.gold.helpers import NOON, Event, append, build, event

DAY: Final = timedelta(days=1)
AS_OF: Final = NOON + timedelta(hours=6)
KINDS: Final = {kind.name: kind for kind in ALERTS}
THRESHOLDS: Final = Thresholds(messages=100)


def sent(job: str, domain: str, number: int, *, days: int = 0, category: str | None = None, first: int = 0) -> list[Event]:
    at = NOON + days * DAY
    return [
        event("deliveries", request=job, recipient_id=f"{who}", email=f"{who}@{domain}", at=at, job_category=category)
        for who in range(first, first + number)
    ]


def failed(job: str, domain: str, number: int, code: int, *, days: int = 0, first: int = 10_000, **values: Any) -> list[Event]:
    at = NOON + days * DAY
    return [
        event("bounces", 5, request=job, recipient_id=f"{who}", email=f"{who}@{domain}", at=at, category_code=code, **values)
        for who in range(first, first + number)
    ]


def complaints(job: str, domain: str, number: int) -> list[Event]:
    return [event("spam_complaints", 60, request=job, recipient_id=f"{who}", email=f"{who}@{domain}") for who in range(number)]


FEED: Final = [
    # Yahoo blocked 1 of 100 on each of the days before, and 20 of 120 today, of which the larger job had 15.
    *(
        each
        for days in range(-5, 0)
        for each in (*sent(f"b-{days}", "yahoo.com", 99, days=days), *failed(f"b-{days}", "yahoo.com", 1, 51, days=days))
    ),
    *sent("b-large", "yahoo.com", 85),
    *failed("b-large", "yahoo.com", 15, 51),
    *sent("b-small", "yahoo.com", 15, first=500),
    *failed("b-small", "yahoo.com", 5, 51, first=20_000),
    # A provider with few messages says little, however bad.
    *sent("b-large", "outlook.com", 10, first=900),
    *failed("b-large", "outlook.com", 10, 10, first=30_000),
    # 4 of 200 at Yahoo complain about one job, 1 of 200 about another; Gmail's complaints are no reports.
    *sent("b-annoying", "yahoo.com", 200, days=-1, first=0),
    *complaints("b-annoying", "yahoo.com", 4),
    *sent("b-fine", "yahoo.com", 200, days=-1),
    *complaints("b-fine", "yahoo.com", 1),
    *sent("b-gmail", "gmail.com", 200, days=-1),
    *complaints("b-gmail", "gmail.com", 50),
    # Errors: a job that sent nothing, and one that did.
    event("job_errors", request="b-broken"),
    event("job_errors", request="b-fine"),
    event("job_errors", request="b-fine", account_id="2"),
    # 20 of 120 could not be rendered; 1 of 100 could not.
    *sent("t-template", "corp.example", 100),
    *(event("render_errors", request="t-template", recipient_id=f"r{who}") for who in range(20)),
    *sent("t-hardly", "corp.example", 99),
    event("render_errors", request="t-hardly", recipient_id="r"),
    # Four weekly letters, three of which delivered 98 of 100, and the newest 60 of 100.
    *(
        each
        for week in (3, 2, 1)
        for each in (
            *sent(f"d-{week}", "corp.example", 98, days=-7 * week, category="weekly"),
            *failed(f"d-{week}", "corp.example", 2, 22, days=-7 * week, job_category="weekly"),
        )
    ),
    *sent("d-0", "corp.example", 60, category="weekly"),
    *failed("d-0", "corp.example", 40, 22, job_category="weekly"),
    # Errors long ago are no news.
    event("job_errors", request="b-old", at=NOON - 30 * DAY),
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("alerts") / "lake"))
    append(lake, FEED)
    build(lake, select="mailbox_provider_daily job_metrics bounce_days", data_tests=True, as_of=AS_OF)
    return lake


def alerts(lake: Lake, name: str) -> list[Alert]:
    return find_alerts(lake, [KINDS[name]], as_of=AS_OF, thresholds=THRESHOLDS)[name]


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        # Agresti and Coull (1998), and by hand: 0 of 10 gives z2 / (10 + z2) = 3.8415 / 13.8415.
        (0, 10, 0.0, 0.27753),
        (10, 10, 0.72247, 1.0),
        # (0.1 + 1.92073 / 100 -+ 1.959964 sqrt(0.0009 + 3.84146 / 40000)) / 1.0384146
        (10, 100, 0.05523, 0.17437),
        (0, 0, 0.0, 1.0),
    ],
)
def test_bounds_of_a_share(part: int, whole: int, low: float, high: float) -> None:
    assert share_bounds(part, whole) == pytest.approx((low, high), abs=1e-5)


def test_a_provider_that_blocks_more_than_it_used_to(lake: Lake) -> None:
    # 20 of 120 is at least 11.06 %; usual are 1 % (5 of 500) on the days before, and 5 of 900 with the two other jobs of yesterday.
    assert alerts(lake, "bounce_spike") == [
        Alert(
            "error",
            "2026-03-10 yahoo block",
            "yahoo answered 16.67 % (20 of 120) of the e-mail that began on 2026-03-10 with a block bounce, most of them of job b-large; "
            "the threshold is 2.00 %, the rate of the 28 days before was 0.56 %.",
        )
    ]


def test_a_job_that_people_report(lake: Lake) -> None:
    # 4 of 200 is at least 0.78 %, more than 0.3; 1 of 200 is at least 0.09 %, less than 0.1.
    assert alerts(lake, "complaints") == [
        Alert(
            "error",
            "b-annoying",
            "Job b-annoying was reported as spam by 2.00 % (4 of 200) of those who can report it; the threshold is 0.30 %.",
        )
    ]


def test_jobs_with_errors(lake: Lake) -> None:
    assert alerts(lake, "no_job_errors") == [
        Alert("error", "b-broken", "Job b-broken had 1 errors and has sent nothing; the threshold is 1."),
        Alert("warn", "b-fine", "Job b-fine had 2 errors and has 200 messages; the threshold is 1."),
    ]


def test_jobs_that_cannot_be_rendered(lake: Lake) -> None:
    # 20 of 120 is at least 11 %, more than 5; 1 of 100 is at least 0.18 %.
    assert alerts(lake, "render_errors") == [
        Alert(
            "error",
            "t-template email",
            "Job t-template could not render 16.67 % (20 of 120) of its email messages; the threshold is 5.00 %.",
        )
    ]


def test_a_job_far_below_its_siblings(lake: Lake) -> None:
    # 60 of 100 is at most 69.06 %, more than 20 points below 98.
    assert alerts(lake, "delivers_like_its_siblings") == [
        Alert(
            "error",
            "d-0 email",
            "Job d-0 delivered 60.00 % (60 of 100) of its email messages; the threshold is 93.00 %, for the 3 jobs of the category "
            "'weekly' before it delivered 98.00 %.",
        )
    ]


def test_a_lake_without_gold_has_no_alerts(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = Lake(str(tmp_path_factory.mktemp("empty") / "lake"))
    assert find_alerts(empty, ALERTS, as_of=AS_OF, thresholds=THRESHOLDS) == {kind.name: [] for kind in ALERTS}
