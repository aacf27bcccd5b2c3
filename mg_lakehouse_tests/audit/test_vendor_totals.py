"""Days and jobs beside MessageGears' own numbers: what differs is told, with the reason where one is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake
from pydantic import SecretStr

from mg_lakehouse.audit.vendor_totals import compare_day, known_reasons, replace_days
from mg_lakehouse.bronze.account_activity import FileKey, fetch_activity
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_sources
from mg_lakehouse.sources.web_service import Patience, WebService
from mg_lakehouse.testing.web_service import ActivityApi
from mg_lakehouse_tests.lake.feeds import receive, rows_of

DAY = date(2026, 3, 1)  # in New York from 05:00Z to 05:00Z; by -04:00 all year from 04:00Z to 04:00Z
LATER = datetime(2026, 5, 1, tzinfo=UTC)
SETTINGS = Settings(activity_types="OPENS,CLICKS,BOUNCES", batch_messages=1)
JOB = "b1000-0000"


def event(kind: str, number: int, at: str, recipient: str) -> str:
    return (
        f"<{kind}Activity><ActivityId>{kind}{number}</ActivityId><RequestId>{JOB}</RequestId><RecipientId>{recipient}</RecipientId>"
        f"<Timestamp>{at}</Timestamp></{kind}Activity>"
    )


OPENS = [event("Open", number, "2026-03-01T15:00:00Z", recipient) for number, recipient in enumerate(["ann", "ann", "bob", "cid"])]
LATE_CLICK = event("Click", 0, "2026-03-02T04:30:00Z", "ann")  # half past eleven in New York


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ActivityApi]:
    with ActivityApi({FileKey(DAY, "OPENS"): list(OPENS)}, today=lambda: date(2026, 3, 20)) as server:
        monkeypatch.setenv("NO_PROXY", server.environment["NO_PROXY"])
        yield server


def service(api: ActivityApi, key: str | None = None) -> WebService:
    return WebService(api.account_id, SecretStr(key or api.api_key), api.url, Patience(attempts=1, first_wait_seconds=0.01))


@pytest.fixture
def filled(lake: Lake, api: ActivityApi) -> Lake:
    """The queue brought three of four opens, and a click that is of the next day by -04:00; the files of both types are there."""
    receive(lake, [f"<ActivityItems>{''.join(OPENS[:3])}{LATE_CLICK}</ActivityItems>"])
    for kind in ("OPENS", "CLICKS"):
        fetch_activity(service(api), lake, SETTINGS, FileKey(DAY, kind))
    flatten_sources(lake)
    return lake


def found(rows: pl.DataFrame, compared_with: str) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in rows.filter(compared_with=compared_with).to_dicts()}


def numbers(row: dict[str, Any], *names: str) -> list[Any]:
    return [row[name] for name in (*names, "reasons", "is_explained")]


def test_files_are_compared_with_all_that_silver_has_of_their_day(filled: Lake, api: ActivityApi) -> None:
    files = found(compare_day(filled, SETTINGS, DAY, service(api), now=LATER), "activity_file")
    assert numbers(files["opens"], "ours", "theirs", "difference", "lost_by_the_queue") == [4, 4, 0, 1, [], True]
    assert numbers(files["clicks"], "ours", "theirs", "difference", "difference_rate") == [1, 0, 1, None, ["eastern_day"], True]
    assert numbers(files["bounces"], "ours", "theirs") == [None, None, ["file_not_in_bronze"], None]


def test_the_accounts_summary_is_compared_with_events_and_with_those_whom_they_are_of(filled: Lake, api: ActivityApi) -> None:
    api.files[FileKey(DAY, "OPENS")] = OPENS[:3]  # as a summary that counts each message once would: Ann's opens are two
    api.files[FileKey(DAY, "BOUNCES")] = ["<x/>"] * 5
    account = found(compare_day(filled, SETTINGS, DAY, service(api), now=LATER), "account_summary")
    assert numbers(account["opens"], "ours", "ours_distinct", "theirs", "difference") == [4, 3, 3, 1, ["unique_against_total"], True]
    assert account["opens"]["difference_rate"] == pytest.approx(1 / 3)
    assert numbers(account["clicks"], "ours", "theirs") == [1, 0, ["eastern_day"], True]
    assert numbers(account["bounces"], "ours", "theirs") == [0, 5, [], False]
    assert numbers(account["job_errors"], "ours", "theirs") == [0, 0, [], True]


def gold(lake: Lake, table: str, rows: Sequence[dict[str, Any]]) -> None:
    write_deltalake(
        f"{lake.root}/gold/{table}", pl.DataFrame(rows, infer_schema_length=None).to_arrow(compat_level=pl.CompatLevel.oldest())
    )


@pytest.fixture
def with_jobs(filled: Lake) -> Lake:
    """Gold as it is of one bulk job of the day, one of another day and a transactional one; opens go on for weeks."""
    sent = datetime(2026, 3, 1, 15, tzinfo=UTC)
    jobs = [(JOB, "bulk_job", sent), ("b2000", "bulk_job", sent + timedelta(days=3)), ("t3000", "transactional_job", sent)]
    columns = [
        "targeted",
        "click_events",
        "unique_clickers",
        "bounced",
        "unsubscribers",
        "delivered",
        "complainers",
        "render_failed",
        "job_errors",
    ]
    gold(
        filled,
        "dim_jobs",
        [
            {"request_id": job, "request_type": kind, "first_send_at": at, "first_event_at": at, "maturity": "final"}
            for job, kind, at in jobs
        ],
    )
    gold(
        filled,
        "job_metrics",
        [{"request_id": job, "channel": "email", **dict.fromkeys(columns, 0), "open_events": 6, "unique_openers": 3} for job, _, _ in jobs],
    )
    receive(
        filled,
        [
            f"<ActivityItems>{event('Open', 8, '2026-04-05T15:00:00Z', 'ann')}{event('Open', 9, '2026-04-06T15:00:00Z', 'ann')}</ActivityItems>"
        ],
        first=5,
    )
    flatten_sources(filled)
    return filled


def test_a_bulk_job_is_compared_with_its_own_summary_and_what_came_after_thirty_days_is_known(with_jobs: Lake, api: ActivityApi) -> None:
    rows = compare_day(with_jobs, SETTINGS, DAY, service(api), now=LATER).filter(compared_with="bulk_job_summary")
    assert rows["request_id"].unique().to_list() == [JOB]
    job = found(rows, "bulk_job_summary")
    # Six opens in all, two of them after thirty days: MessageGears' four lie between three people and six events too.
    assert numbers(job["opens"], "ours", "ours_distinct", "theirs") == [6, 3, 4, ["unique_against_total", "thirty_day_horizon"], True]
    asked = [form.get("BulkJobRequestId") for _, form in api.requests if form["Action"] == "BulkJobSummary"]
    assert asked == [JOB]


def test_jobs_are_not_asked_for_where_that_is_switched_off(with_jobs: Lake, api: ActivityApi) -> None:
    rows = compare_day(with_jobs, SETTINGS.model_copy(update={"reconciled_jobs": 0}), DAY, service(api), now=LATER)
    assert "bulk_job_summary" not in set(rows["compared_with"])


def test_what_messagegears_refuses_is_a_row_without_its_number_and_a_sentence_without_the_key(filled: Lake, api: ActivityApi) -> None:
    said: list[str] = []
    rows = compare_day(filled, SETTINGS, DAY, service(api, "wrong-key"), now=LATER, progress=said.append)
    (row,) = rows.filter(compared_with="account_summary").to_dicts()
    assert numbers(row, "metric", "ours", "theirs") == ["all", None, None, ["not_answered"], None]
    assert len(said) == 1
    assert "wrong-key" not in said[0]


def test_without_credentials_the_files_alone_are_compared(filled: Lake) -> None:
    rows = compare_day(filled, SETTINGS, DAY, None, now=LATER)
    assert rows.select("compared_with", "metric").sort("metric").rows() == [("activity_file", "clicks"), ("activity_file", "opens")]


def test_a_day_that_is_compared_again_takes_the_place_of_what_was_there_and_of_nothing_else(filled: Lake, api: ActivityApi) -> None:
    other = compare_day(filled, SETTINGS, DAY + timedelta(days=1), service(api), now=LATER)
    replace_days(filled, [DAY + timedelta(days=1)], other)
    for now in (LATER, LATER + timedelta(hours=1)):
        rows = compare_day(filled, SETTINGS, DAY, service(api), now=now)
        replace_days(filled, [DAY], rows)
    table = rows_of(filled, "gold", "reconciliation")
    assert table.filter(activity_date=DAY)["compared_at"].unique().to_list() == [LATER + timedelta(hours=1)]
    assert table.height == rows.height + other.height
    assert table.select("activity_date", "request_id", "compared_with", "metric").is_unique().all()


@pytest.mark.parametrize(
    ("ours", "theirs", "known", "reasons"),
    [
        (5, 5, {}, []),
        (5, 4, {}, []),
        (4, 5, {"settled": False}, ["still_arriving"]),
        (4, 5, {"flattened": False}, ["not_flattened_yet"]),
        (5, 4, {"flattened": False}, []),
        (5, 4, {"beyond_horizon": 1}, ["thirty_day_horizon"]),
        (5, 3, {"beyond_horizon": 1}, []),
        (5, 2, {"distinct": 3}, []),
        (None, 5, {}, ["no_event"]),
        (5, None, {}, ["not_answered"]),
    ],
)
def test_a_reason_holds_only_where_it_accounts_for_the_difference(
    ours: int | None, theirs: int | None, known: dict[str, Any], reasons: list[str]
) -> None:
    usual: dict[str, Any] = {"distinct": None, "eastern": None, "beyond_horizon": 0, "settled": True, "flattened": True}
    assert known_reasons(ours, theirs, **{**usual, **known}) == reasons
