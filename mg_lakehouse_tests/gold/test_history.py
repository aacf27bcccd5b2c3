"""The log of restatements: what a refresh changed in numbers that were already published, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import NOON, Event, append, build, event, table, version

DAY = timedelta(days=1)
SETTLED, FINAL = NOON + 4 * DAY, NOON + 40 * DAY
MODELS = "restatement_log"


def mail(name: str, who: str, seconds: float = 0, **values: Any) -> Event:
    return event(name, seconds, request="b1-job", recipient_id=who, email=f"{who}@gmail.com", **values)


def refresh(lake: Lake, events: Sequence[Event], as_of: datetime) -> None:
    append(lake, events)
    build(lake, select=MODELS, as_of=as_of)


def restated(lake: Lake, model: str = "job_metrics") -> dict[str, tuple[int, int | None, int, str]]:
    rows = table(lake, "restatement_log")
    return {
        row["metric"]: (row["old_value"], row["new_value"], row["change"], row["reason"])
        for row in rows.filter(model=model).iter_rows(named=True)
    }


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_numbers_of_a_job_are_restated_once_they_were_published(lake: Lake) -> None:
    refresh(lake, [mail("deliveries", "ann"), mail("bounces", "ben", category_code=22)], NOON + timedelta(minutes=5))
    assert table(lake, "restatement_log").is_empty()
    # The job is still being sent, then settling: what changes is news, no restatement.
    refresh(lake, [mail("deliveries", "cat", 60)], NOON + 2 * DAY)
    assert restated(lake) == {}
    # It settled without a change; then a bounce that came late makes one of two deliveries none.
    refresh(lake, [mail("opens", "ann", 600)], SETTLED)
    refresh(lake, [mail("bounces", "cat", 7_200, category_code=10)], SETTLED + DAY)
    assert restated(lake) == {
        "accepted": (2, 1, -1, "new_events"),
        "bounced": (1, 2, 1, "new_events"),
        "bounced_outofband": (0, 1, 1, "new_events"),
        "hard_bounced": (0, 1, 1, "new_events"),
    }
    assert {row["row_key"] for row in table(lake, "restatement_log").filter(model="job_metrics").to_dicts()} == {
        json.dumps({"request_id": "b1-job", "channel": "email"}, separators=(",", ":"))
    }


def test_engagement_is_published_when_the_job_is_final(lake: Lake) -> None:
    refresh(lake, [mail("deliveries", "ann")], FINAL)
    refresh(lake, [mail("opens", "ann", 90)], FINAL + DAY)
    assert restated(lake) == {
        "unique_openers": (0, 1, 1, "new_events"),
        "unique_human_openers": (0, 1, 1, "new_events"),
        "open_events": (0, 1, 1, "new_events"),
    }


def test_a_category_of_a_day_is_restated_after_the_day_settled(lake: Lake) -> None:
    refresh(lake, [mail("bounces", "ann", category_code=22), mail("deliveries", "eve")], NOON + DAY)
    refresh(lake, [mail("bounces", "ben", category_code=22)], NOON + 3 * DAY)
    assert restated(lake, "bounce_categories_daily") == {}
    # The 10th ended 72 hours before the 14th: from then on it is published.
    refresh(lake, [mail("bounces", "cat", category_code=22)], NOON + 4 * DAY)
    assert restated(lake, "bounce_categories_daily") == {
        "messages": (2, 3, 1, "new_events"),
        "denominator": (3, 4, 1, "new_events"),
    }


def test_the_log_is_added_to_and_never_told_twice(lake: Lake) -> None:
    refresh(lake, [mail("deliveries", "ann")], FINAL)
    refresh(lake, [mail("opens", "ann", 90)], FINAL + DAY)
    before, stood = table(lake, "restatement_log"), version(lake, "restatement_log")
    build(lake, select=MODELS, as_of=FINAL + DAY)
    assert version(lake, "restatement_log") == stood
    refresh(lake, [mail("opens", "ann", 95)], FINAL + 2 * DAY)
    after = table(lake, "restatement_log")
    assert after.height == before.height + 1
    assert after.filter(change=1, metric="open_events").sort("old_value").select("old_value", "new_value").rows() == [(0, 1), (1, 2)]
    assert after["build_id"].n_unique() == 2


def test_what_new_definitions_change_is_told_apart(lake: Lake) -> None:
    """A threshold of bots that moved makes all of gold anew, and a click a person's."""
    refresh(lake, [mail("deliveries", "ann"), mail("clicks", "ann", 2, url="u")], FINAL)
    build(lake, variables={"bot_click_seconds_after_delivery": 1}, select=MODELS, as_of=FINAL)
    assert restated(lake) == {"unique_human_clickers": (0, 1, 1, "new_definitions")}
