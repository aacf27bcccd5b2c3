"""An incremental build equals a full rebuild, row for row, however the events came; and it touches only what changed."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from mg_lakehouse._util.progress import on_remark
from mg_lakehouse.events.catalogue import columns_of
from mg_lakehouse.gold import clustered as gold_clustered
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.gold.helpers import (
    DERIVED,
    NOON,
    PII_KEY,
    Event,
    append,
    build,
    event,
    one,
    replaced,
    rows_of,
    run,
    statuses,
    table,
    versions,
)
from mg_lakehouse_tests.oracle.compare import difference
from mg_lakehouse_tests.oracle.gold import NOT_RECKONED, PRIMARY_KEYS, expected_gold
from mg_lakehouse_tests.templates import copied, made_once

DAY: Final = 86_400
OF_EVENTS: Final = tuple(name for name in DERIVED if name not in {"dim_bounce_categories", "metric_dictionary"})
JOBS: Final = ("b1-first", "02-c2-second", "b1-first", "02-c2-second", None)
ADDRESSES: Final[dict[str, tuple[str, Sequence[str | None]]]] = {
    "email": (
        "email",
        (
            None,
            None,
            "a@gmail.com",
            " A@GMAIL.com",
            "Ann <a@gmail.com>",
            "a@gmail.com.",
            "b@yahoo.com",
            "b@b\u00fccher.example",
            "B@xn--bcher-kva.example\u200b",
            "0beec7b5ea3f0fdb",
        ),
    ),
    "sms": ("phone", (None, "+15550001", "1 555-0001", "+15550002")),
    "push": ("device", (None, "device-1", "device-2")),
}
"""By channel: the name of its address, and few addresses, so that they meet."""

RECIPIENTS: Final = ("1", "2", "3", "03", "null", "1.2E+11", None)
ADDRESSES_AT_MOST: Final = 2
"""So few that some ids are of nobody: by default it takes more than five addresses."""
FEW_ADDRESSES: Final = {"recipient_addresses_at_most": ADDRESSES_AT_MOST}

ERRORS: Final = [
    {
        "error_code": "Template merge exception",
        "error_message": "Error on line 1, column 10 in SUBJECT, Expression Recipient.First is missing",
    },
    {"error_code": None, "error_message": "in BODY of s3://bucket/7"},
]
YAHOO: Final = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
COLUMNS: Final[dict[str, tuple[str, dict[str, Sequence[Any]]]]] = {
    "deliveries": ("email", {}),
    "bounces": (
        "email",
        {
            "category_code": (10, 22, 51, 70, 131, 110, 777, None),
            "category": ("Mailbox Full", "Gremlins", None),
            "details": (None, "550 5.1.1 <a@gmail.com> unknown", "421 try b later"),
        },
    ),
    "opens": ("email", {"user_agent": (None, "Mozilla/5.0", "Mozilla/5.0 (Macintosh)", YAHOO, "Outlook-iOS/723.4 (4.28.0)")}),
    "clicks": (
        "email",
        {
            "url": ("https://u1.example/a/7?p=1", "u2", "u3", None),
            "url_name": (None, "Buy"),
            "url_id": (None, "-1", "7"),
            "user_agent": (None, "barracuda", "Outlook-iOS/723.4 (4.28.0)"),
        },
    ),
    "unsubscribes": ("email", {}),
    "spam_complaints": ("email", {}),
    "render_errors": ("email", {"job_category": (None, "news"), "errors": (None, ERRORS, ERRORS[:1])}),
    "sms_deliveries": ("sms", {}),
    "sms_delivery_failures": ("sms", {"category": ("INVALID_ADDRESS", "JOB_CANCELLED", "new")}),
    "mobile_push_deliveries": ("push", {"service": (None, "APNS")}),
    "mobile_push_delivery_failures": ("push", {"category": ("TRANSIENT_FAILURE", "EXPIRED"), "service": (None, "FCM")}),
    "sms_inbounds": ("sms", {"inbound_message_type": ("STOP", "START", None), "inbound_message": ("Stop!", "help")}),
    "job_errors": ("none", {"errors": (None, ERRORS)}),
    "context_hits": (
        "none",
        {"vendor": ("v", None), "prefix": ("p", "q"), "record_size": (None, 7), "updated_at": (None, NOON - timedelta(hours=1))},
    ),
    "context_misses": ("none", {"vendor": ("v", None), "prefix": ("p", "q")}),
}
"""The tables of the feeds: the channel, and the columns that decide something with few values each."""

# Deliveries and bounces come often, of few messages: what moves between days is a message with several.
TABLES: Final = ("deliveries", "bounces", "bounces", *COLUMNS, "requests")
# Ties, the windows of bots, and the days that the week and the four weeks of the rolling rates begin and end on.
SECONDS: Final = (0, 1, 2, 4, 3_600, 13 * 3_600, DAY, 6 * DAY, 7 * DAY, 28 * DAY, 29 * DAY)
END: Final = NOON + timedelta(days=31)
RECEIVED: Final = tuple(END + timedelta(hours=hours) for hours in range(4))
"""In no order: of two sources one can be behind."""


@st.composite
def events(draw: st.DrawFn) -> tuple[str, float, dict[str, Any]]:
    name = draw(st.sampled_from(TABLES))
    values: dict[str, Any] = {"request": draw(st.sampled_from(JOBS))}
    if name in COLUMNS:
        channel, columns = COLUMNS[name]
        if channel in ADDRESSES:
            address, addresses = ADDRESSES[channel]
            values |= {address: draw(st.sampled_from(addresses)), "recipient_id": draw(st.sampled_from(RECIPIENTS))}
        values |= {column: draw(st.sampled_from(some)) for column, some in columns.items()}
    return name, draw(st.sampled_from(SECONDS)), values


@st.composite
def feeds(draw: st.DrawFn) -> list[list[Event]]:
    """A feed in some pieces, in the order they arrive in: any event can come in any piece, long after its time."""
    drawn = draw(st.lists(events(), min_size=30, max_size=60))
    pieces = draw(st.integers(2, 3))
    arrival = draw(st.lists(st.integers(0, pieces - 1), min_size=len(drawn), max_size=len(drawn)))
    received = draw(st.lists(st.sampled_from(RECEIVED), min_size=len(drawn), max_size=len(drawn)))
    made = [
        event(name, seconds, activity_id=f"a{number:03d}", received_at=at, **values)
        for number, ((name, seconds, values), at) in enumerate(zip(drawn, received, strict=True))
    ]
    split = [[each for each, piece in zip(made, arrival, strict=True) if piece == wanted] for wanted in range(pieces)]
    return [piece for piece in split if piece]


times = st.sampled_from([NOON + timedelta(minutes=30), NOON + timedelta(days=2), END, NOON + timedelta(days=90)])


# Rows of a part: every key by itself, some at a time, and all at once.
part_rows = st.sampled_from([1, 12, 1_000_000])


# Without shrinking: a smaller example would cost some minutes of builds, and the failing feed says enough.
generated: Final = partial(settings, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
arrivals: Final = given(pieces=feeds(), between=st.lists(times, min_size=2, max_size=2), parts=st.lists(part_rows, min_size=3, max_size=3))


@pytest.mark.slow
@generated(max_examples=2)
@arrivals
def test_the_way_the_events_came_leaves_no_trace(pieces: list[list[Event]], between: list[datetime], parts: list[int]) -> None:
    leaves_no_trace(pieces, between, parts)


@pytest.mark.faults
@generated(max_examples=20, derandomize=False)
@arrivals
def test_the_way_many_feeds_came_leaves_no_trace(pieces: list[list[Event]], between: list[datetime], parts: list[int]) -> None:
    leaves_no_trace(pieces, between, parts)


def leaves_no_trace(pieces: list[list[Event]], between: list[datetime], parts: list[int]) -> None:
    # The first feed that is drawn has one event some thirty times, and shows nothing.
    assume(len({each.table for piece in pieces for each in piece}) > 5)
    with tempfile.TemporaryDirectory() as folder:
        by_pieces, at_once = Lake(f"{folder}/pieces"), Lake(f"{folder}/at-once")
        for number, piece in enumerate(pieces):
            # A file for each day, so that those of other days can be left out.
            for _, of_day in groupby(sorted(piece, key=day_of), day_of):
                append(by_pieces, of_day)
            as_of = END if number == len(pieces) - 1 else between[number]
            # What is read in parts is put into their order as soon as anything was looked at in vain.
            with patch.object(gold_clustered, "WASTED_READS", 0):
                build(by_pieces, variables=FEW_ADDRESSES, data_tests=True, as_of=as_of, changes={"gold_part_rows": parts[number]})
        append(at_once, [each for piece in pieces for each in piece])
        build(at_once, variables=FEW_ADDRESSES, as_of=END)
        for name in DERIVED:
            assert rows_of(by_pieces, name) == rows_of(at_once, name), name
        expected = reckoned([each for piece in pieces for each in piece])
        for name, key in PRIMARY_KEYS.items():
            found = table(by_pieces, name).drop(NOT_RECKONED, strict=False).to_dicts()
            assert not difference(expected[name], found, key=key), name


def day_of(each: Event) -> date:
    at: datetime = each.values["event_at"]
    return at.date()


def reckoned(feed: Sequence[Event]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for each in feed:
        rows.setdefault(each.table, []).append({column.name: None for column in columns_of(each.table)} | dict(each.values))
    seeds = project_dir(Settings()) / "seeds"
    return expected_gold(
        rows,
        as_of=END,
        zone="America/New_York",
        pii_key=PII_KEY,
        categories=seeds / "bounce_categories.csv",
        providers=seeds / "mailbox_providers.csv",
        addresses_at_most=ADDRESSES_AT_MOST,
    )


LONG_AGO: Final = NOON - timedelta(days=10)
NEW_OPEN: Final = event("opens", 60, request="b1-new", recipient_id="1", user_agent="Safari")


def make(folder: Path) -> None:
    """Two jobs a day after the newer one, as a build left them."""
    lake = Lake(str(folder))
    append(lake, [event("deliveries", request="b1-old", recipient_id=str(number), at=LONG_AGO) for number in range(3)])
    append(lake, [event("opens", 90, request="b1-old", recipient_id="1", at=LONG_AGO, user_agent="Safari")])
    build(lake)
    append(lake, [event("deliveries", request="b1-new", recipient_id="1"), event("deliveries", request="b1-new", recipient_id="2")])
    append(lake, [event("bounces", request="b1-new", recipient_id="3", category_code=70), event("opens", 5, request=None)])
    append(lake, [event("bounces", request="b1-new", recipient_id="4", category_code=10)])
    build(lake)


@pytest.fixture
def lake(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Lake:
    return copied(made_once(tmp_path_factory, "gold-of-two-jobs", make), tmp_path / "lake")


def everything(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows_of(lake, name) for name in DERIVED}


def files(lake: Lake, name: str) -> set[str]:
    return {uri.rsplit("/", 1)[-1] for uri in DeltaTable(f"{lake.root}/gold/{name}").file_uris()}


def test_a_build_with_nothing_new_commits_nothing(lake: Lake) -> None:
    before = versions(lake)
    build(lake)
    assert versions(lake) == before


@pytest.mark.slow
def test_a_full_refresh_gives_the_same_rows(lake: Lake) -> None:
    before, rows = versions(lake), everything(lake)
    build(lake, full_refresh=True)
    assert versions(lake) == {name: version + 1 for name, version in before.items()}
    assert everything(lake) == rows


@pytest.mark.slow
def test_a_build_in_parts_gives_the_same_rows_in_one_commit(lake: Lake) -> None:
    before, rows = versions(lake), everything(lake)
    # A key of one row or more is a part.
    build(lake, full_refresh=True, changes={"gold_part_rows": 1})
    assert versions(lake) == {name: version + 1 for name, version in before.items()}
    assert everything(lake) == rows
    assert spilled() == []


def spilled() -> list[Path]:
    """What builds of this process put by."""
    return list(Path(duck.private_folder()).glob("*/*-*/*.parquet"))


def test_compacting_silver_touches_nothing(lake: Lake) -> None:
    before = versions(lake)
    DeltaTable(f"{lake.root}/silver/bounces").optimize.compact()
    build(lake)
    assert versions(lake) == before


def test_an_event_rewrites_the_rows_of_its_job_only(lake: Lake) -> None:
    # A wrong number in the other job shows whether anything looked at it.
    metrics = DeltaTable(f"{lake.root}/gold/job_metrics")
    metrics.update(updates={"open_events": "99"}, predicate="request_id = 'b1-old'")
    old_files = files(lake, "fct_messages")
    append(lake, [NEW_OPEN])
    build(lake, select="job_metrics job_metrics_daily job_bounce_categories bounce_days")
    assert {row["request_id"]: row["open_events"] for row in table(lake, "job_metrics").to_dicts()} == {"b1-old": 99, "b1-new": 1}
    for name in ("fct_messages", "dim_jobs", "job_metrics", "job_metrics_daily", "job_bounce_categories", "bounce_days"):
        predicate = str(replaced(lake, name))
        assert "b1-new" in predicate, name
        assert "b1-old" not in predicate, name
    # What the first build wrote holds the old job alone, and stands.
    assert len(files(lake, "fct_messages") & old_files) >= 1


def test_an_event_of_no_job_rewrites_the_orphans_of_its_day(lake: Lake) -> None:
    before = rows_of(lake, "dim_jobs")
    append(lake, [event("opens", 7, request=None, activity_id="orphan"), event("clicks", 7, request=None, at=LONG_AGO, url="u")])
    build(lake, select="job_metrics_daily dim_jobs")
    orphans = table(lake, "fct_messages").filter(pl.col("request_id").is_null())
    assert sorted(orphans["first_event_at"].dt.date().to_list()) == [LONG_AGO.date(), NOON.date(), NOON.date()]
    daily = table(lake, "job_metrics_daily").filter(pl.col("request_id").is_null())
    assert one(daily, event_date=NOON.date())["open_events"] == 2
    assert one(daily, event_date=LONG_AGO.date())["click_events"] == 1
    assert rows_of(lake, "dim_jobs") == before


def test_an_event_of_a_later_day_moves_what_stands_on_an_earlier_one(lake: Lake) -> None:
    assert bounces_at_noon(lake) == {"messages": 1, "events": 1, "denominator": 4, "rate_median_28d": 0.0}
    # Delivered a day later, the message did not bounce.
    append(lake, [event("deliveries", 13 * 3_600, request="b1-new", recipient_id="4")])
    build(lake, select="bounce_categories_daily")
    assert bounces_at_noon(lake) == {"messages": 0, "events": 1, "denominator": 4, "rate_median_28d": 0.0}


VIOLATIONS: Final = "suppression_violations"
ANN: Final = "ann@corp.example"
LEFT_LONG_AGO: Final = event("unsubscribes", 60, request="b1-old", recipient_id="ann", email=ANN, at=LONG_AGO, activity_id="left")


@pytest.fixture
def mailed(lake: Lake) -> Lake:
    """Ann got the newer job, too: nothing yet says that she must not."""
    append(lake, [event("deliveries", request="b1-new", recipient_id="ann", email=ANN)])
    build(lake, select=VIOLATIONS)
    assert violated(lake) == []
    return lake


def violated(lake: Lake) -> list[str]:
    return sorted(table(lake, "suppression_violations")["request_id"].to_list())


def test_evidence_that_comes_late_touches_the_jobs_that_were_sent_after_it(mailed: Lake) -> None:
    append(mailed, [event("deliveries", request="b1-before", recipient_id="ann", email=ANN, at=LONG_AGO - timedelta(days=9))])
    build(mailed, select=VIOLATIONS)
    append(mailed, [LEFT_LONG_AGO])
    build(mailed, select=VIOLATIONS)
    assert violated(mailed) == ["b1-new"]
    predicate = str(replaced(mailed, "suppression_violations"))
    assert "b1-new" in predicate
    assert "b1-before" not in predicate


def test_evidence_that_is_lost_touches_them_too(mailed: Lake) -> None:
    append(mailed, [LEFT_LONG_AGO, event("clicks", 60, request="b1-old", recipient_id="2", at=LONG_AGO)])
    build(mailed, select=VIOLATIONS)
    assert violated(mailed) == ["b1-new"]
    DeltaTable(f"{mailed.root}/silver/unsubscribes").delete("activity_id = 'left'")
    build(mailed, select=VIOLATIONS)
    assert violated(mailed) == []


def test_evidence_that_stays_the_same_touches_no_other_job(mailed: Lake) -> None:
    append(mailed, [LEFT_LONG_AGO])
    build(mailed, select=VIOLATIONS)
    append(mailed, [event("opens", 99, request="b1-old", recipient_id="ann", email=ANN, at=LONG_AGO, user_agent="Safari")])
    build(mailed, select=VIOLATIONS)
    assert violated(mailed) == ["b1-new"]
    predicate = str(replaced(mailed, "suppression_violations"))
    assert "b1-old" in predicate
    assert "b1-new" not in predicate


def test_a_start_that_comes_late_touches_the_jobs_that_were_sent_after_it(lake: Lake) -> None:
    phone = "+15550123"
    append(lake, [event("sms_inbounds", request=None, phone=phone, inbound_message_type="STOP", at=LONG_AGO)])
    append(lake, [event("sms_deliveries", request="t-text", phone=phone), event("sms_deliveries", request=None, phone=phone, at=NOON)])
    build(lake, select=f"{VIOLATIONS} suppression_list")
    assert table(lake, "suppression_violations")["request_id"].sort().to_list() == [None, "t-text"]
    append(lake, [event("sms_inbounds", 60, request=None, phone=phone, inbound_message_type="START", at=LONG_AGO)])
    build(lake, select=f"{VIOLATIONS} suppression_list")
    assert violated(lake) == []
    assert table(lake, "suppression_list").filter(pl.col("channel") == "sms").is_empty()


def test_an_event_moves_the_four_weeks_after_its_day(lake: Lake) -> None:
    # 28 days before, the only message bounced: the days compared with are no longer one at 0, but one at 0 and one at 1.
    append(lake, [event("bounces", request="b1-late", recipient_id="1", category_code=10, at=NOON - timedelta(days=28))])
    build(lake, select="bounce_categories_daily")
    assert bounces_at_noon(lake) == {"messages": 1, "events": 1, "denominator": 4, "rate_median_28d": 0.5}


def test_a_message_that_turns_out_to_be_older_leaves_its_day(lake: Lake) -> None:
    """Its job has nothing else on that day: nothing of the job says that the day must be made anew, but that it had an event there."""
    append(lake, [event("opens", request="b1-moved", recipient_id="1", email="a@aol.com", at=NOON + timedelta(days=5))])
    build(lake, select="mailbox_provider_daily recipient_domain_daily")
    assert days_of_aol(lake) == [(date(2026, 3, 15), date(2026, 3, 15))]
    append(lake, [event("deliveries", request="b1-moved", recipient_id="1", email="a@aol.com", at=NOON + timedelta(days=3))])
    build(lake, select="mailbox_provider_daily recipient_domain_daily")
    assert days_of_aol(lake) == [(date(2026, 3, 13), date(2026, 3, 13))]


def days_of_aol(lake: Lake) -> list[tuple[date, date]]:
    providers = table(lake, "mailbox_provider_daily").filter(pl.col("mailbox_provider") == "yahoo")
    domains = table(lake, "recipient_domain_daily").filter(pl.col("recipient_domain") == "aol.com")
    return list(zip(providers["event_date"], domains["event_date"], strict=True))


def bounces_at_noon(lake: Lake) -> dict[str, Any]:
    row = one(table(lake, "bounce_categories_daily"), event_date=NOON.date(), category_key="10")
    return {name: row[name] for name in ("messages", "events", "denominator", "rate_median_28d")}


def test_time_alone_matures_the_jobs_that_it_makes_stale(lake: Lake) -> None:
    before = versions(lake)
    assert maturities(lake) == {"b1-old": "engaging", "b1-new": "settling"}
    assert one(table(lake, "job_metrics"), request_id="b1-new")["settled_bounce_rate"] is None
    build(lake, as_of=NOON + timedelta(hours=72))
    assert maturities(lake) == {"b1-old": "engaging", "b1-new": "engaging"}
    # Of four attempted messages one bounced and one is put off for good.
    assert one(table(lake, "job_metrics"), request_id="b1-new")["settled_bounce_rate"] == 0.5
    moved = {name for name, version in versions(lake).items() if version != before[name]}
    assert moved == {"dim_jobs", "job_metrics", "restatement_log"}
    assert all("b1-old" not in str(replaced(lake, name)) for name in moved)


def maturities(lake: Lake) -> dict[str, str]:
    jobs = dict(table(lake, "dim_jobs").select("request_id", "maturity").rows())
    assert jobs == dict(table(lake, "job_metrics").select("request_id", "maturity").rows())
    return jobs


@pytest.mark.slow
def test_a_changed_threshold_rebuilds_what_depends_on_it(lake: Lake) -> None:
    before = versions(lake)
    build(lake, variables={"machine_open_user_agent": "Safari"})
    assert one(table(lake, "job_metrics"), request_id="b1-old")["unique_human_openers"] == 0
    moved = {name for name, version in versions(lake).items() if version != before[name]}
    assert moved >= {"fct_messages", "job_metrics", "job_metrics_daily", "client_days", "client_metrics_daily", "mailbox_provider_daily"}
    assert moved.isdisjoint({"dim_jobs", "recipient_addresses", "feed_health_hourly", "job_errors", "bounce_reasons_daily"})
    assert [replaced(lake, name) for name in moved & set(DERIVED)] == [None] * len(moved & set(DERIVED))


@pytest.mark.slow
def test_another_business_time_zone_rebuilds_what_has_local_days(lake: Lake) -> None:
    before = versions(lake)
    said: list[str] = []
    with on_remark(said.append):
        # At 12:00 UTC the 11th has begun on Kiritimati, 14 hours ahead.
        build(lake, changes={"business_timezone": "Pacific/Kiritimati"})
        build(lake, changes={"business_timezone": "Pacific/Kiritimati"})
    (sentence,) = said
    assert re.fullmatch(
        r"\d+ gold tables were made anew, once, for their definition changed: .* \(.*dim_jobs, .*job_metrics_daily.*\)\.", sentence
    )
    assert one(table(lake, "dim_jobs"), request_id="b1-new")["job_date_local"] == date(2026, 3, 11)
    moved = {name for name, version in versions(lake).items() if version != before[name]}
    assert moved >= {"dim_jobs", "job_metrics_daily"}
    assert moved.isdisjoint({"fct_messages", "client_days", "suppression_list", "feed_health_hourly"})


@pytest.mark.slow
def test_a_silver_table_made_anew_rebuilds_what_reads_it(lake: Lake) -> None:
    shutil.rmtree(f"{lake.root}/silver/opens")
    append(lake, [NEW_OPEN])
    build(lake)
    # The opens that went with the old table are gone, the new one is there.
    opens = table(lake, "fct_messages").filter(pl.col("open_events") > 0)
    assert opens.select("request_id", "recipient_key").rows() == [("b1-new", "id:1")]
    # These read no opens.
    others = {"bounce_reasons_daily", "sms_inbound_daily", "engage_metrics_daily"}
    assert {name: replaced(lake, name) for name in OF_EVENTS if name not in others} == dict.fromkeys(set(OF_EVENTS) - others)


@pytest.mark.slow
def test_a_build_that_died_between_two_models_is_resumed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    append(lake, [NEW_OPEN, event("bounces", 9, request="b1-old", recipient_id="0", category_code=22, at=LONG_AGO)])
    commit = gold.commit

    def dying(lake: Lake, spec: Any, *arguments: Any, **options: Any) -> DeltaTable:
        if spec.name in {"job_metrics", "bounce_days"}:
            raise OSError("the power went")
        return commit(lake, spec, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(gold, "commit", dying)
        dead = run(lake, tests=())
    assert not dead.ok
    assert statuses(dead)["job_bounce_categories"] == "skipped"
    assert one(table(lake, "fct_messages"), request_id="b1-new", recipient_key="id:1")["open_events"] == 1
    assert one(table(lake, "job_metrics"), request_id="b1-new")["open_events"] == 0
    build(lake)
    assert replaced(lake, "job_metrics") is not None
    assert one(table(lake, "job_metrics"), request_id="b1-new")["open_events"] == 1
    resumed = everything(lake)
    build(lake, full_refresh=True)
    assert everything(lake) == resumed


@pytest.mark.slow
def test_an_empty_lake_builds_to_empty_tables_that_the_first_events_fill(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    build(lake)
    assert {name: table(lake, name).height for name in OF_EVENTS} == dict.fromkeys(OF_EVENTS, 0)
    append(lake, [NEW_OPEN])
    build(lake)
    assert one(table(lake, "job_metrics"))["implied_delivered"] == 1
