"""What the benchmarks measure on is what they say it is."""

from __future__ import annotations

import zipfile
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from benchmarks.data.bronze import copy_lake, fill, messages
from benchmarks.data.daily_file import write_daily_file
from benchmarks.data.feed import bodies, earlier, fresh_ids
from benchmarks.data.history import LAST_DAY, SHARES, History
from benchmarks.data.shapes import BROKEN, PLAIN, WELL_FORMED, shaped
from benchmarks.data.writing import bundled
from benchmarks.peers import lxml_loop
from benchmarks.work.flattening import differences
from mg_lakehouse.events.fast.reader import read_fast
from mg_lakehouse.events.flatten import flatten
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse_tests.lake.feeds import rows_of

EVENTS = 2_000
HISTORY = History(2, rows_a_day=1_000)


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return bodies(tmp_path_factory.mktemp("cache"), events=EVENTS)


def ids(feed: pl.DataFrame) -> pl.Series:
    return feed["body"].str.extract_all(r"ActivityId>[0-9a-f-]{36}<").explode()


def test_the_feed_has_ten_events_to_a_message_and_one_in_fifty_twice(feed: pl.DataFrame) -> None:
    assert (feed.height, feed["items"].unique().to_list()) == (EVENTS // 10, [10])
    assert ids(feed).len() == EVENTS
    assert ids(feed).n_unique() == EVENTS * 49 // 50


def test_a_copy_of_the_feed_has_ids_of_its_own(feed: pl.DataFrame) -> None:
    copy = fresh_ids(feed, 3)
    assert set(ids(copy)).isdisjoint(ids(feed))
    assert ids(copy).n_unique() == ids(feed).n_unique()


def test_an_earlier_copy_of_the_feed_has_times_of_its_own(feed: pl.DataFrame) -> None:
    def rows(feed: pl.DataFrame) -> pl.DataFrame:
        tables = flatten(messages(feed), source="event_feed").tables
        return pl.concat([rows.select("event_at", "message_id", "item_index") for rows in tables.values()]).sort("message_id", "item_index")

    now, before = rows(feed), rows(earlier(feed, 2))
    assert set(ids(earlier(feed, 2))).isdisjoint(ids(feed))
    assert_frame_equal(before, now.with_columns(pl.col("event_at") - pl.duration(days=82)))
    assert now["event_at"].max() - now["event_at"].min() < timedelta(days=41)  # type: ignore[operator]


def test_the_lxml_loop_gives_the_same_rows(feed: pl.DataFrame) -> None:
    bronze = messages(feed)
    ours, loop = flatten(bronze, source="event_feed"), lxml_loop.flatten(bronze, source="event_feed")
    assert ours.rejected.is_empty()
    assert len(loop) > 12
    assert differences(ours.tables, loop) == []


def test_a_different_row_is_found(feed: pl.DataFrame) -> None:
    loop = lxml_loop.flatten(messages(feed), source="event_feed")
    changed = loop | {"opens": loop["opens"].with_columns(ip_address=pl.lit("10.0.0.1"))}
    assert differences(loop, changed) == ["opens.ip_address"]
    assert differences(loop, {table: rows for table, rows in loop.items() if table != "clicks"}) == ["clicks"]
    assert differences(loop, loop | {"opens": loop["opens"].head(3)}) == [f"opens: {loop['opens'].height} and 3 rows"]


def test_the_lxml_loop_writes_the_rows_that_silver_has(feed: pl.DataFrame, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    assert fill(lake, feed, events=EVENTS) == feed.height
    report = flatten_new(lake)
    counts = lxml_loop.bronze_to_silver(Path(lake.uri_of("bronze", "event_feed")), tmp_path / "peer")
    assert counts == {table: count.rows for table, count in report.tables.items()}
    assert sum(counts.values()) == EVENTS * 49 // 50
    assert DeltaTable(str(tmp_path / "peer" / "opens")).count() == counts["opens"]


def test_a_daily_file_is_one_document_of_the_feeds_items_of_a_type_each_copy_with_ids_of_its_own(
    feed: pl.DataFrame, tmp_path: Path
) -> None:
    file = tmp_path / "deliveries.zip"
    written = write_daily_file(file, feed, size=1_000_000)
    with zipfile.ZipFile(file) as archive:
        (name,) = archive.namelist()
        document = archive.read(name)
    assert written.bytes == len(document) >= 1_000_000
    items = [each for each in ET.fromstring(document).iter() if each.tag.endswith("Activity")]
    assert {each.tag for each in items} == {"{http://messagegears.com/3.1/webService}DeliveredMessageActivity"}
    assert len(items) == written.items
    sent = feed["body"].str.extract_all(r"(?s)<(?:mg:)?DeliveredMessageActivity>.*?ActivityId>[0-9a-f-]{36}<").explode().drop_nulls()
    first = sent.str.extract(r"ActivityId>([0-9a-f-]{36})<$").to_list()
    there = ["".join(child.text or "" for child in each if child.tag.endswith("}ActivityId")) for each in items]
    copies = [there[start : start + len(first)] for start in range(0, len(there), len(first))]
    assert copies[0] == first
    assert len(copies) > 2
    assert set(copies[1]).isdisjoint(first)
    assert len(set(copies[1])) == len(set(first))
    assert set(copies[2]).isdisjoint([*first, *copies[1]])


def test_a_daily_file_of_a_feed_without_items_of_the_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no item of DELIVERIES"):
        write_daily_file(tmp_path / "file.zip", pl.DataFrame({"body": ["<ActivityItems/>"]}), size=1)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("history")))
    HISTORY.write(lake)
    return lake


def test_a_history_is_a_file_a_day_sorted_by_time(history: Lake) -> None:
    for table, share in SHARES.items():
        rows = rows_of(history, "silver", table)
        assert rows.height == 2 * round(1_000 * share)
        assert rows["activity_id"].is_unique().all()
        assert (rows["received_date"] < LAST_DAY).all()
        handle = history.open("silver", table)
        assert handle is not None
        files = handle.file_uris()
        assert len(files) == 2
        assert all(pl.read_parquet(file, hive_partitioning=False)["event_at"].is_sorted() for file in files)


def test_silver_has_all_of_a_history(history: Lake) -> None:
    report = flatten_new(history)
    assert (report.messages, report.from_version) == (0, report.to_version)


def test_a_longer_history_is_the_shorter_one_and_older_days(history: Lake, tmp_path: Path) -> None:
    grown = Lake(str(copy_lake(Path(history.root), tmp_path / "grown")))
    History(3, rows_a_day=1_000).write(grown, behind=2)
    fresh = Lake(str(tmp_path / "fresh"))
    History(3, rows_a_day=1_000).write(fresh)
    for table in SHARES:
        was, both = rows_of(grown, "silver", table).sort("activity_id"), rows_of(fresh, "silver", table).sort("activity_id")
        assert_frame_equal(was, both)
        assert set(rows_of(history, "silver", table)["activity_id"]) < set(was["activity_id"])


def test_a_micro_batch_comes_out_as_the_rows_that_it_was_made_of(history: Lake, tmp_path: Path) -> None:
    lake = Lake(str(copy_lake(Path(history.root), tmp_path / "lake")))
    rows = dict(HISTORY.batch(0, count=500))
    feed = bundled(rows.items())
    assert (feed.height, int(feed["items"].sum())) == (50, 500)
    fill(lake, feed, events=500, first=10**9)
    assert flatten_new(lake).rows == 500
    for table, made in rows.items():
        content = [name for name in made.columns if name not in ("message_id", "item_index", "received_at", "received_date")]
        landed = rows_of(lake, "silver", table).filter(pl.col("activity_id").is_in(made["activity_id"].implode()))
        expected = made.with_columns(pl.col("event_at").dt.truncate("1ms"))
        assert_frame_equal(landed.select(content).sort("activity_id"), expected.select(content).sort("activity_id"))


def test_every_micro_batch_touches_the_jobs_of_its_day_and_of_the_day_before() -> None:
    short, long = (pl.concat(rows["request_id"] for _, rows in History(days).batch(1, count=2_000)) for days in (4, 400))
    assert_frame_equal(short.to_frame(), long.to_frame())
    assert short.n_unique() == 20


@pytest.mark.parametrize("name", WELL_FORMED)
def test_a_well_formed_shape_has_every_event_and_is_read_fast(name: str, tmp_path: Path) -> None:
    """No shape may be a cliff: none of its items goes the slow path."""
    feed = bodies(tmp_path, events=300)
    plain, other = (messages(shaped(feed, WELL_FORMED[shape])) for shape in (PLAIN, name))
    reading = read_fast(other["body"])
    assert (reading.bodies.len(), reading.odd, list(reading.cells)) == (other.height, [], [])
    found, expected = flatten(other, source="event_feed"), flatten(plain, source="event_feed")
    assert found.rejected.is_empty()
    ids = {row for rows in expected.tables.values() for row in rows.select("message_id", "item_index").rows()}
    assert len(ids) > 250
    assert ids <= {row for rows in found.tables.values() for row in rows.select("message_id", "item_index").rows()}
    assert found.items - expected.items in (0, other.height)
    assert name == PLAIN or other["body"].to_list() != plain["body"].to_list()


@pytest.mark.parametrize(
    ("name", "reason", "share"),
    [
        ("one malformed item in 100", "malformed_xml", 0.01),
        ("one malformed item in every bundle of 10", "malformed_xml", 0.1),
        ("one item without a time in every bundle of 10", "missing_timestamp", 0.1),
    ],
)
def test_of_a_broken_shape_only_what_is_broken_is_not_read_fast(name: str, reason: str, share: float, tmp_path: Path) -> None:
    broken = messages(shaped(bodies(tmp_path, events=300), BROKEN[name]))
    found = flatten(broken, source="event_feed")
    assert set(found.rejected["reason"]) == {reason}
    assert found.rejected.height == pytest.approx(share * found.items, abs=3)
    reading = read_fast(broken["body"])
    assert reading.bodies.len() == broken.height
    assert len(reading.odd) == (found.rejected.height if reason == "malformed_xml" else 0)
