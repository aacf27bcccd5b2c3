"""What passes over a lake on S3 ask of it: requests of whole passes, from the queue to gold, and of a refresh of the dashboard."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.dagster.resources import shared_lake
from mg_lakehouse.dagster.run_pass import run_once
from mg_lakehouse.location import Location
from mg_lakehouse.serving.dashboard import questions
from mg_lakehouse.serving.dashboard.questions import Wanted
from mg_lakehouse.serving.sandbox.sandbox import ad_hoc
from mg_lakehouse.settings import load_settings
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy, Request
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.events.frames import bundle, item

pytestmark = pytest.mark.s3

KEY: Final = "k" * 40
JOB: Final = "b1-0"


def an_open(number: int) -> str:
    """One more open of a job that there is."""
    time = f"2026-03-01T12:00:{number:02}.000-05:00"
    return bundle(
        item("OpenActivity", ActivityId=f"one{number}", Timestamp=time, RequestId=JOB, RecipientId="77", EmailAddress="ada@example.com")
    )


@dataclass(frozen=True)
class Asked:
    """The requests of a pass over 700 events, of passes over one more each, in a process that knows nothing of the lake (``cold``) and in one that does, of a
    pass over nothing, and of a refresh of the dashboard.
    """

    cold: list[Request]
    warm: list[Request]
    warm_later: list[Request]
    nothing: list[Request]
    refresh: list[Request]


@pytest.fixture(scope="module")
def asked(s3_server: S3Server, s3_proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    lake = f"{s3_server.make_bucket('budget')}/lake"
    with SqsEmulator() as queue, pytest.MonkeyPatch.context() as patch, set_environment(s3_proxy.environment | queue.environment):
        for name in ("AWS_PROFILE", "DAGSTER_HOME"):
            os.environ.pop(name, None)
        patch.chdir(tmp_path_factory.mktemp("budget"))
        patch.setenv("MG_LAKE_URI", lake)
        patch.setenv("MG_PII_KEY", KEY)
        settings = load_settings()

        def run(*bodies: str) -> list[Request]:
            queue.publish(list(bodies))
            gc.collect()  # handles return when Python frees them, and results of Dagster refer to themselves
            s3_proxy.seen()
            assert run_once(settings).succeeded
            return s3_proxy.seen()

        run(*(made.body for made in generate(FeedPlan(events=700, seed=3)).bundles))
        shared_lake.cache_clear()
        cold = run(an_open(1))
        passes = [run(an_open(2)), run(an_open(3)), run()]
        s3_proxy.seen()
        with ad_hoc(Location(lake), settings) as query:
            wanted = Wanted(date(2026, 1, 1), date(2026, 12, 31))
            assert questions.jobs(query, wanted).height
            for of_wanted in (questions.daily, questions.bounces):
                of_wanted(query, wanted)
            for of_all in (questions.suppressed, questions.suppressed_by_reason, questions.feed, questions.lags, questions.rejected):
                of_all(query)
        yield Asked(cold, passes[0], passes[1], passes[2], s3_proxy.seen())


def written(requests: list[Request]) -> Counter[str]:
    """What was written, by kind of file."""
    return Counter(request.path.rsplit(".", 1)[-1] for request in requests if request.method == "PUT")


def test_an_event_costs_a_thousand_requests_at_most_in_a_process_of_its_own(asked: Asked) -> None:
    assert len(asked.cold) <= 1_000


def test_the_next_pass_of_a_process_costs_less_and_a_third_over_nothing(asked: Asked) -> None:
    assert len(asked.warm_later) <= 800
    assert len(asked.nothing) <= 300


def test_a_commit_is_made_where_there_are_rows_or_progress(asked: Asked) -> None:
    """Bronze, the silver table of the event and that of rejects, which says how far silver is; and each table of gold that the job is in."""
    tables = {
        request.path.split("/lake/")[1].split("/_delta_log")[0]
        for request in asked.warm
        if request.method == "PUT" and request.path.endswith(".json")
    }
    assert {table for table in tables if not table.startswith("gold/")} == {"bronze/event_feed", "silver/opens", "silver/rejected_items"}
    assert written(asked.warm)["json"] == len(tables)
    assert written(asked.nothing) == {}


def test_nothing_is_looked_for_before_it_is_written(asked: Asked) -> None:
    heads = {request.path for request in asked.cold if request.method == "HEAD"}
    made = [request.path for request in asked.cold if request.method == "PUT"]
    before = {path for path in made if path in heads and _place(asked.cold, "HEAD", path) < _place(asked.cold, "PUT", path)}
    assert before == set()


def _place(requests: list[Request], method: str, path: str) -> int:
    return next(place for place, request in enumerate(requests) if (request.method, request.path) == (method, path))


def test_a_refresh_of_the_dashboard_asks_for_the_tables_that_it_shows(asked: Asked) -> None:
    """Those that its queries name, in `serving/queries/dashboard`."""
    tables = {"/".join(request.path.split("/lake/")[1].split("/")[:2]) for request in asked.refresh if "/lake/" in request.path}
    assert tables == {
        "gold/bounce_days",
        "gold/dim_jobs",
        "gold/feed_health_hourly",
        "gold/job_metrics",
        "gold/suppression_list",
        "silver/rejected_items",
    }
    assert len(asked.refresh) <= 400
