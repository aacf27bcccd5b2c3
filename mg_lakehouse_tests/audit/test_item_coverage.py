"""Whatever a reader overlooks is seen: by the message, in the table, in the check and in the hours' books."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest

from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.audit.hourly_balance import balance_hours_of_sources
from mg_lakehouse.bronze.append import append_batch
from mg_lakehouse.bronze.event_feed import _frame
from mg_lakehouse.bronze.tables import BRONZE_SCHEMA, EVENT_FEED
from mg_lakehouse.events import flatten as flattening
from mg_lakehouse.events.fast.reader import NOTHING_READ_FAST
from mg_lakehouse.events.strict.reader import Body, Item, Rejection
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import SliceLedger
from mg_lakehouse.silver.rebuild import rebuild
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.sources.sqs import Received
from mg_lakehouse_tests.events.frames import bundle, flat, item
from mg_lakehouse_tests.lake.feeds import START, receive, rows_of
from mg_lakehouse_tests.oracle.conservation import unaccounted

READ = Body.read


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def an_open(name: str) -> str:
    return item("OpenActivity", ActivityId=name)


def skip_second(body: Body) -> Iterator[Item | Rejection]:
    """A reader that overlooks the second item of each bundle."""
    return (read for read in READ(body) if read.position != 1)


def receive_some(lake: Lake) -> None:
    receive(
        lake,
        [bundle(an_open("o1"), an_open("o2"), an_open("o3")), bundle(an_open("o4")), bundle("text", an_open("o5"), an_open("o6"), "<Bad>")],
    )


def test_what_a_reader_overlooks_is_a_reject_of_its_message_and_balances(lake: Lake) -> None:
    receive_some(lake)
    with patch.object(flattening, "read_fast", return_value=NOTHING_READ_FAST), patch.object(Body, "read", skip_second):
        report = flatten_new(lake)
    assert sorted(rows_of(lake, "silver", "opens")["activity_id"]) == ["o1", "o3", "o4", "o6"]
    rejected = rows_of(lake, "silver", "rejected_items").filter(reason="overlooked_items").sort("message_id")
    assert rejected.select("message_id", "item_index").rows() == [("m0", None), ("m2", None)]
    assert "3 items begin in the body, and 1 of them are in no row" in rejected["detail"][0]
    assert rejected["fragment"][0] == bundle(an_open("o1"), an_open("o2"), an_open("o3"))
    assert report.items == report.rows + sum(report.rejected.values())
    assert conservation(lake, above=0).holds
    found = balance_hours_of_sources(lake, START, START)
    assert (found.balances, found.overlooked, found.uncovered) == (True, ("m0", "m2"), 0)


def flatten_without_noticing(lake: Lake) -> None:
    """Flatten with a reader that skips items, and with nobody to make a reject of that."""
    with (
        patch.object(flattening, "read_fast", return_value=NOTHING_READ_FAST),
        patch.object(Body, "read", skip_second),
        patch.object(flattening, "_falling_short", return_value=pl.Series(dtype=pl.UInt32)),
    ):
        flatten_new(lake)


def test_an_item_that_is_in_no_row_and_no_reject_blocks_gold_and_fails_the_books(lake: Lake) -> None:
    """Without the reject, a message that lacks an item is seen all the same, whatever others have too many."""
    receive_some(lake)

    flatten_without_noticing(lake)
    found = conservation(lake, above=0)
    assert (found.difference, found.uncovered, found.holds) == (0, 2, False)
    assert (balance_hours_of_sources(lake, START, START).balances, balance_hours_of_sources(lake, START, START).uncovered) == (False, 2)


def test_a_ledger_of_an_older_release_tells_of_no_count() -> None:
    """It is read as before, and says nothing of what begins in bodies."""
    ledger = SliceLedger.from_commit({"mg.ledger": '{"source": "event_feed", "low": 0, "high": 1, "items": 3}'})
    assert ledger is not None
    assert (ledger.counted, ledger.uncovered) == (None, 0)


def test_the_count_of_messages_that_are_rejected_as_a_whole_is_that_of_their_reject() -> None:
    """A SOAP envelope, a document type, JSON: whatever begins in them is in the one reject."""
    three = bundle(an_open("o1"), an_open("o2"), an_open("o3"))
    found = flat(f"<Envelope>{three}</Envelope>", f"<!DOCTYPE x>{three}", f"[{three}]", three)
    assert (found.items_of.to_list(), found.counted_of.to_list()) == ([1, 1, 1, 3], [1, 1, 1, 3])


def test_an_expat_count_of_the_bodies_sees_what_a_reader_skipped(lake: Lake) -> None:
    """The measure of the whole runs, which must be able to fail."""
    receive_some(lake)
    flatten_without_noticing(lake)
    assert unaccounted(lake) == 1


def test_a_message_in_an_envelope_is_kept_as_received_and_says_what_it_was_in(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    inner = bundle(an_open("o1"), an_open("o2"))
    notification = json.dumps({"Type": "Notification", "TopicArn": "a", "Message": inner})
    frame = _frame([received("m1", notification), received("m2", inner), received("m3", "prose")], "feed", "b1")
    append_batch(lake, frame, "b1")
    bronze = rows_of(lake, "bronze", "event_feed").sort("message_id")
    assert bronze.select("body", "envelope").rows() == [(notification, "sns"), (inner, None), ("prose", None)]
    report = flatten_new(lake)
    assert (report.items, report.tables["opens"].rows, report.tables["opens"].duplicates, report.rejected) == (5, 2, 2, {"not_xml": 1})
    assert unaccounted(lake) == 0
    # A conflict's text is the item's own, and a day made anew is what it was.
    changed = inner.replace("10:00:00Z</Timestamp>", "10:00:00Z</Timestamp><UserAgent>\u00e9</UserAgent>")
    append_batch(lake, _frame([received("m4", json.dumps(changed))], "feed", "b2"), "b2")
    flatten_new(lake)
    conflicts = rows_of(lake, "silver", "rejected_items").filter(reason="conflicting_activity_id")
    assert conflicts.height == 2
    assert all(text.startswith("<OpenActivity>") and "\u00e9" in text for text in conflicts["fragment"])
    assert not any(each.changed for each in rebuild(lake, [START.date()]))


def test_bronze_of_an_older_release_gets_the_column_and_goes_on(tmp_path: Path) -> None:
    """And what it holds in envelopes, which was rejected then, a backfill puts right."""
    lake = Lake(str(tmp_path))
    old = replace(EVENT_FEED, schema=pl.Schema({name: dtype for name, dtype in BRONZE_SCHEMA.items() if name != "envelope"}))
    lake.ensure(old)
    notification = json.dumps({"Type": "Notification", "TopicArn": "a", "Message": bundle(an_open("o1"))})
    append_batch(lake, _frame([received("m1", notification)], "feed", "b1").drop("envelope"), "b1", table=old)
    append_batch(lake, _frame([received("m2", notification)], "feed", "b2"), "b2")
    bronze = rows_of(lake, "bronze", "event_feed").sort("message_id")
    assert bronze["envelope"].to_list() == [None, "sns"]
    report = flatten_new(lake)
    assert (report.items, report.tables["opens"].rows, report.tables["opens"].duplicates) == (2, 1, 1)


def received(message_id: str, body: str) -> Received:
    return Received(message_id, f"handle-{message_id}", body, START, START, 1, "{}")
