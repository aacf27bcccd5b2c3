"""The generator: repeatable, honest about itself, and with everything in it that a reader must take."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lxml import etree

from mg_lakehouse.events.catalogue import EVENTS, LINEAGE_COLUMNS, columns_of
from mg_lakehouse.testing.feed.breaking import BROKEN_BODIES
from mg_lakehouse.testing.feed.feed import Feed, FeedPlan, generate
from mg_lakehouse.testing.samples import MALFORMED, samples

_SILENT = {"source", "message_id", "item_index", "received_at", "received_date"}


@pytest.fixture(scope="module")
def feed() -> Feed:
    return generate(FeedPlan())


def _parses(body: str) -> bool:
    if "<!DOCTYPE" in body:
        return False
    try:
        etree.fromstring(body.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        return False
    return True


def test_the_same_plan_gives_the_same_feed_and_another_seed_another() -> None:
    plan = FeedPlan(seed=7, events=3_000)
    first, second = generate(plan), generate(plan)
    assert first.bundles == second.bundles
    assert first.truth == second.truth
    assert generate(FeedPlan(seed=8, events=3_000)).bundles != first.bundles


@pytest.mark.parametrize("events", [0, 1, 2, 37, 800])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_feed_has_as_many_items_as_the_plan_says(events: int, share: float) -> None:
    made = generate(FeedPlan(events=events, duplicates=share, malformed=share / 2))
    assert sum(bundle.items for bundle in made.bundles) == made.truth.items == events


def test_every_item_is_a_row_a_duplicate_or_rejected(feed: Feed) -> None:
    """Shares of the default plan: 2 % duplicates and 0.5 % broken of 20,000 items are 400 and 100."""
    rejected_items = [rejected for rejected in feed.truth.rejected if rejected.item is not None]
    assert feed.truth.items == 20_000
    assert feed.truth.duplicates == 400
    assert len(rejected_items) == 100
    assert len(feed.truth.rows) == 19_500


def test_a_body_parses_unless_the_truth_rejects_something_in_it_as_malformed(feed: Feed) -> None:
    unreadable = {rejected.bundle for rejected in feed.truth.rejected if rejected.reason in ("malformed_xml", "not_xml")}
    wrong = [index for index, bundle in enumerate(feed.bundles) if _parses(bundle.body) == (index in unreadable)]
    assert wrong == []


def test_the_truth_says_where_each_item_was_written(feed: Feed) -> None:
    """Of each body that parses, the element at the place of a row has the row's activity id, read with nothing but lxml."""
    unreadable = {rejected.bundle for rejected in feed.truth.rejected if rejected.reason in ("malformed_xml", "not_xml")}
    roots = {
        index: [child for child in etree.fromstring(bundle.body.encode()) if isinstance(child.tag, str)]
        for index, bundle in enumerate(feed.bundles)
        if index not in unreadable
    }
    for row in feed.truth.rows:
        if row.bundle in roots and row.values["activity_id"] is not None:
            found = roots[row.bundle][row.item].xpath("string(*[local-name() = 'ActivityId'][1])")
            assert str(found).strip() == row.values["activity_id"]


def test_a_row_of_the_truth_has_the_columns_of_the_contract(feed: Feed) -> None:
    by_table = feed.truth.by_table()
    assert set(by_table) == {event.table for event in EVENTS}
    for table, rows in by_table.items():
        assert set(rows[0].values) == {column.name for column in columns_of(table)} - _SILENT
    assert {column.name for column in LINEAGE_COLUMNS} > _SILENT


def test_no_two_rows_of_a_table_have_the_same_activity_id(feed: Feed) -> None:
    for table, rows in feed.truth.by_table().items():
        ids = Counter(row.values["activity_id"] for row in rows if row.values["activity_id"] is not None)
        assert max(ids.values(), default=1) == 1, table


def test_rows_without_an_activity_id_differ_in_content_and_say_whose_they_are(feed: Feed) -> None:
    without = [row for row in feed.truth.rows if row.values["activity_id"] is None]
    assert len(without) > 100
    assert len({(row.table, repr(sorted(row.values.items()))) for row in without}) == len(without)
    assert all(row.values["request_id"] for row in without)


@pytest.mark.parametrize(
    "mark",
    [
        "<ActivityItems>",
        'xmlns="http://messagegears.com/3.0/webService"',
        'xmlns="http://messagegears.com/3.1/webService"',
        'xmlns="http://messagegears.com/3.2/webService"',
        'xmlns:mg="http://messagegears.com/3.1/webService"',
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<![CDATA[",
        "<!-- a note -->",
        "<!-- <OpenActivity>",
        "&amp;",
        "&lt;",
        "&#233;",
        "\U0001f31e",
        "<Geo>",
        "<IpSelector>",
        "<SmsDeliveredActivity>",
        "<DeliveredSmsActivity>",
        "<SmsInboundActivity>",
        "<InboundSmsActivity>",
        "<ContextMissActivity>",
        "<MobilePushClickActivity>",
        "<SmsClickActivity>",
        "<MobileAppOpenActivity>",
        "<JobError><ErrorCode>",
        "</RenderError><RenderError>",
        "-05:00</",
        "-04:00</",
        "+05:30</",
        "Z</",
        "&nbsp;",
        "</WrongId>",
    ],
)
def test_a_default_feed_has(feed: Feed, mark: str) -> None:
    assert any(mark in bundle.body for bundle in feed.bundles)


def test_a_default_feed_has_every_kind_of_rejection(feed: Feed) -> None:
    reasons = Counter((rejected.reason, rejected.item is None) for rejected in feed.truth.rejected)
    assert set(reasons) == {
        ("malformed_xml", False),
        ("missing_timestamp", False),
        ("invalid_timestamp", False),
        ("malformed_xml", True),
        ("not_xml", True),
        ("not_activity_items", True),
    }
    assert {body for _, _, body in BROKEN_BODIES.values()} <= {bundle.body for bundle in feed.bundles}


def test_a_default_feed_has_what_the_metrics_tell_apart(feed: Feed) -> None:
    tables = feed.truth.by_table()
    codes = {row.values["category_code"] for row in tables["bounces"]}
    assert {1, 10, 22, 25, 30, 50, 51, 70, 99, 110, 130, 131, None} <= codes
    assert {row.values["user_agent"] for row in tables["opens"]} >= {"Mozilla/5.0", None}
    assert {row.values["is_inferred"] for row in tables["context_misses"]} == {True, False}
    assert {row.values["utc_offset_minutes"] for row in tables["deliveries"]} == {-300, -240, 0, 330, None}
    assert any(row.values["request_id"] is None for row in tables["opens"])
    for rows in tables.values():
        for row in rows:
            event_at = row.values["event_at"]
            assert isinstance(event_at, datetime)
            assert row.values["event_date"] == event_at.astimezone(UTC).date()


def test_some_stop_text_messages_and_take_it_back_and_some_stop_again(feed: Feed) -> None:
    said: dict[object, list[tuple[datetime, str]]] = {}
    for row in feed.truth.by_table()["sms_inbounds"]:
        at = row.values["event_at"]
        assert isinstance(at, datetime)
        said.setdefault(row.values["sms_address"], []).append((at, str(row.values["inbound_message"])))
    texts = ["".join(text[:3] for _, text in sorted(found)) for found in said.values()]
    assert any("STOSTA" in of_person for of_person in texts)
    assert any("STOSTASTO" in of_person for of_person in texts)


def test_what_no_column_takes_is_a_json_object(feed: Feed) -> None:
    rescued = [json.loads(str(row.values["_rescued_data"])) for row in feed.truth.rows if row.values["_rescued_data"]]
    assert any(isinstance(value, list) for found in rescued for value in found.values())
    assert {"IpSelector", "SubaccountId", "MessageSize", "CategoryCode", "Microsite", "RecordSize", "Timestamp", "Geo"} <= {
        name for found in rescued for name in found
    }


def test_no_event_is_after_the_end_and_jobs_keep_to_the_plan(feed: Feed) -> None:
    plan = FeedPlan()
    times = [row.values["event_at"] for row in feed.truth.rows]
    assert all(isinstance(at, datetime) and at <= plan.end for at in times)
    jobs = {row.values["request_id"] for row in feed.truth.rows} - {None}
    assert len(jobs) == 16
    assert len({row.values["request_id"] for row in generate(FeedPlan(events=2_000, jobs=5)).truth.rows} - {None}) == 5


def test_bundles_mix_types_and_jobs_and_keep_to_the_usual_size(feed: Feed) -> None:
    sizes = [len(bundle.body.encode()) for bundle in feed.bundles]
    assert sum(size < 64 * 1024 for size in sizes) / len(sizes) > 0.95
    assert max(bundle.items for bundle in feed.bundles) <= 120
    of_bundle: dict[int, set[str]] = {}
    for row in feed.truth.rows:
        of_bundle.setdefault(row.bundle, set()).add(row.table)
    assert sum(len(tables) > 2 for tables in of_bundle.values()) > len(of_bundle) / 2


def test_twenty_thousand_items_take_a_few_seconds_at_most() -> None:
    begin = time.process_time()
    generate(FeedPlan())
    assert time.process_time() - begin < 8


@pytest.mark.parametrize(
    "change",
    [
        {"events": -1},
        {"duplicates": -0.1},
        {"duplicates": 0.6, "malformed": 0.6},
        {"start": datetime(2026, 4, 1, tzinfo=UTC)},
        {"start": datetime(2026, 1, 1)},  # noqa: DTZ001 - the point of the test
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(change: dict[str, float | datetime]) -> None:
    with pytest.raises(ValueError, match="FeedPlan needs"):
        FeedPlan(**change)  # type: ignore[arg-type]


def test_a_feed_of_the_last_hours_has_all_its_events_in_them() -> None:
    end = datetime(2026, 5, 1, 12, tzinfo=UTC)
    made = generate(FeedPlan(events=300, jobs=3, start=end - timedelta(hours=3), end=end))
    deliveries = [row.values["event_at"] for row in made.truth.by_table()["deliveries"]]
    assert all(isinstance(at, datetime) and end - timedelta(hours=3) <= at <= end for at in deliveries)


def test_the_documents_samples_are_all_there_and_two_are_malformed() -> None:
    found = samples()
    assert len(found) == 17
    assert {name for name, body in found.items() if not _parses(body)} == MALFORMED
    assert Path(next(iter(found))).suffix == ".xml"
