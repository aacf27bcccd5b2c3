"""The books of an hour, reckoned by hand, and what unbalances them."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from mg_lakehouse.audit.hourly_balance import HourBalance, HourlyBalance, balance_hours, balance_hours_of_sources
from mg_lakehouse.bronze.append import Uncommitted, append_batch
from mg_lakehouse.bronze.read_progress import silver_progress
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import BatchLedger, ids_digest, posted_batches
from mg_lakehouse.silver.update import flatten_new, flatten_sources
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.lake.feeds import START, batch, load, receive, rows_of

BODIES = list(samples().values())
HOUR, NEXT = "2026-03-01T12", "2026-03-01T13"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Samples 1 to 9 in one hour; in the next the other eight, two of them malformed (12 and 15), and the first three again."""
    lake = Lake(str(tmp_path / "lake"))
    receive(lake, BODIES[:9])
    flatten_new(lake)
    receive(lake, [*BODIES[9:], *BODIES[:3]], first=9, received_at=START + timedelta(hours=1))
    return lake


def books(lake: Lake) -> HourlyBalance:
    return balance_hours(lake, START, START + timedelta(hours=1))


def test_the_hours_balance(lake: Lake) -> None:
    flatten_new(lake)
    found = books(lake)
    assert found.balances
    assert found.hours == (
        HourBalance(HOUR, received=9, in_bronze=9, waiting=0, items=9, rows=9, rejected=0, duplicates=0),
        HourBalance(NEXT, received=11, in_bronze=11, waiting=0, items=11, rows=6, rejected=2, duplicates=3),
    )


def test_what_is_not_flattened_yet_waits_and_is_not_missing(lake: Lake) -> None:
    found = books(lake)
    assert found.balances
    assert found.hours[1] == HourBalance(NEXT, received=11, in_bronze=11, waiting=11, items=0, rows=0, rejected=0, duplicates=0)


def test_only_the_hours_that_are_asked_for_are_looked_at(lake: Lake) -> None:
    flatten_new(lake)
    assert [hour.hour for hour in balance_hours(lake, START + timedelta(hours=1), START + timedelta(hours=5)).hours] == [NEXT]
    assert balance_hours(lake, START + timedelta(hours=2), START + timedelta(hours=5)).hours == ()


def test_a_row_that_vanished_from_silver_is_missing_in_its_hour(lake: Lake) -> None:
    flatten_new(lake)
    DeltaTable(lake.uri_of("silver", "deliveries")).delete()
    found = books(lake)
    assert not found.balances
    assert [(hour.hour, hour.items_missing) for hour in found.hours if not hour.balances] == [(HOUR, 1)]


def test_a_row_that_stands_in_silver_twice_is_one_too_many(lake: Lake) -> None:
    flatten_new(lake)
    rows_of(lake, "silver", "deliveries").write_delta(lake.uri_of("silver", "deliveries"), mode="append")
    assert [hour.items_missing for hour in books(lake).hours] == [-1, 0]


def test_what_one_source_lacks_is_not_made_up_by_what_another_has_twice(lake: Lake) -> None:
    load(lake, BODIES[:1], received_at=START)
    flatten_sources(lake)
    assert balance_hours_of_sources(lake, START, START + timedelta(hours=1)).balances
    clicks = lake.uri_of("silver", "clicks")
    rows_of(lake, "silver", "clicks").with_columns(source=pl.lit("loaded_files")).write_delta(clicks, mode="append")
    DeltaTable(clicks).delete("source = 'event_feed'")
    found = balance_hours_of_sources(lake, START, START)
    (hour,) = found.hours
    assert (hour.items_missing, hour.balances, found.balances) == (0, False, False)


def test_books_of_three_sources_remember_each_that_did_not_balance() -> None:
    short = HourBalance(HOUR, received=2, in_bronze=2, waiting=0, items=2, rows=1, rejected=0, duplicates=0)
    long = HourBalance(HOUR, received=1, in_bronze=1, waiting=0, items=1, rows=2, rejected=0, duplicates=0)
    right = HourBalance(HOUR, received=3, in_bronze=3, waiting=1, items=5, rows=2, rejected=1, duplicates=2)
    total = short.plus(long).plus(right)
    assert total == HourBalance(HOUR, 6, 6, 1, 8, 5, 1, 2, unbalanced_sources=total.unbalanced_sources)
    assert (total.items_missing, total.balances) == (0, False)
    assert right.plus(right).balances


def test_a_message_that_vanished_from_bronze_is_missing_and_its_batch_named(lake: Lake) -> None:
    flatten_new(lake)
    table = DeltaTable(lake.uri_of("bronze", "event_feed"))
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    table.delete("message_id = 'm10'")
    found = books(lake)
    assert [hour.messages_missing for hour in found.hours] == [0, 1]
    assert found.changed_batches == ("batch-9",)


def test_a_message_that_was_exchanged_is_seen_by_the_digest_alone(lake: Lake) -> None:
    flatten_new(lake)
    table = DeltaTable(lake.uri_of("bronze", "event_feed"))
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    table.update(predicate="message_id = 'm2'", new_values={"message_id": "another"})
    found = books(lake)
    assert all(hour.balances for hour in found.hours)
    assert found.changed_batches == ("batch-0",)
    assert not found.balances


def test_a_lake_without_bronze_has_no_hours(tmp_path: Path) -> None:
    assert books(Lake(str(tmp_path / "lake"))) == HourlyBalance((), (), asked_since=START, proved_since=START)


def test_the_account_of_a_batch_is_in_its_commit(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    append_batch(lake, batch({"a": "x", "b": "yy"}, batch_id="one"), "one")
    append_batch(lake, batch({"b": "yy", "c": "zzz"}, batch_id="two"), "two", Uncommitted(repeated=1, already=4, delete_failures=2))
    handle = lake.open("bronze", "event_feed")
    assert handle is not None
    newest = next(posted_batches(handle))
    assert newest.rows_added == 1
    assert newest.ledger == BatchLedger(
        batch_id="two",
        received=1 + 1 + (1 + 4),
        new=1,
        repeated=1,
        already=5,
        delete_failures=2,
        bytes=3,
        first_sent_at="2026-03-01T12:00:00+00:00",
        last_sent_at="2026-03-01T12:00:00+00:00",
        # Of "c" alone, by sha256sum.
        ids="2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6",
        hours={HOUR: 1},
    )


def test_a_digest_does_not_depend_on_the_order() -> None:
    assert ids_digest(["b", "a"]) == ids_digest(["a", "b"]) != ids_digest(["ab"])


def test_all_accounts_are_found_behind_many_commits(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    for number in range(40):
        receive(lake, ["<ActivityItems/>"], first=number)
    handle = lake.open("bronze", "event_feed")
    assert handle is not None
    versions = [posted.version for posted in posted_batches(handle)]
    assert versions == list(range(40, 0, -1))
    assert pl.Series([posted.ledger.new for posted in posted_batches(handle)]).sum() == 40


def test_what_comes_while_the_books_are_made_is_not_in_them(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ingest commits to bronze and to silver between the look at a table and the look at its accounts."""
    flatten_new(lake)
    before = books(lake)

    def late(lake: Lake, bronze: DeltaTable) -> int:
        progress = silver_progress(lake, bronze)
        receive(lake, BODIES[3:6], first=20, received_at=START + timedelta(hours=1))
        flatten_new(lake)
        return progress

    monkeypatch.setattr("mg_lakehouse.audit.hourly_balance.silver_progress", late)
    assert books(lake) == before
    assert before.balances


def test_the_accounts_of_an_older_handle_end_with_its_version(lake: Lake) -> None:
    opened = lake.open("bronze", "event_feed")
    assert opened is not None
    before = list(posted_batches(opened))
    for number in range(12):
        receive(lake, BODIES[:1], first=30 + number)
    assert list(posted_batches(opened)) == before
    assert [posted.version for posted in before] == [2, 1]


def test_an_account_bears_the_number_of_its_version_whatever_was_committed_since(tmp_path: Path) -> None:
    """delta-rs numbers the commits from the handle's version and begins at the log's newest: all were one too low."""
    lake = Lake(str(tmp_path / "lake"))
    for number in range(20):
        receive(lake, ["<ActivityItems/>"], first=number)
    handle = lake.open("bronze", "event_feed")
    assert handle is not None
    receive(lake, ["<ActivityItems/>"], first=20)
    assert [(posted.version, posted.ledger.batch_id) for posted in posted_batches(handle)] == [
        (version, f"batch-{version - 1}") for version in range(20, 0, -1)
    ]


def test_hours_before_the_logs_begin_are_not_balanced(lake: Lake) -> None:
    """Maintenance removes old entries, and accounts with them: what they told is not missing, it is no longer known."""
    flatten_new(lake)
    for number in range(60):
        receive(lake, ["<ActivityItems/>"], first=100 + number, received_at=START + timedelta(hours=1))
    flatten_new(lake)
    assert books(lake).balances
    handle = DeltaTable(lake.uri_of("bronze", "event_feed"))
    for path in Path(lake.uri_of("bronze", "event_feed"), "_delta_log").glob("*"):
        os.utime(path, (0, 0))
    handle.cleanup_metadata()
    assert next(iter(list(posted_batches(handle))[::-1])).version > 2
    # All was committed within this minute, so no hour up to this one is accounted for.
    assert books(lake) == HourlyBalance((), (), asked_since=START)
    assert books(lake).balances
    assert not books(lake).proves_all
