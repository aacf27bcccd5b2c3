"""Days of silver made anew: nothing changes where nothing is wrong, and what is wrong is put right, row by row."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.audit.hourly_balance import balance_hours_of_sources
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver import rebuild as rederiving
from mg_lakehouse.silver.rebuild import Rebuilt, rebuild
from mg_lakehouse.silver.staged_day import StagedDay
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.lake.feeds import START, receive, rows_of

DAY = timedelta(days=1)
FIRST, SECOND = START.date(), (START + DAY).date()


def click(activity: str, **children: str) -> str:
    return item("ClickActivity", ActivityId=activity, **children)


def opened(activity: str, **children: str) -> str:
    return item("OpenActivity", ActivityId=activity, **children)


FEED = [
    # Copies within a bundle, across bundles and across days, and one with another content.
    (0, [bundle(click("c1"), click("c1"), opened("o1")), bundle(click("c2"), "<ClickActivity><ActivityId>x</ActivityId></ClickActivity>")]),
    (1, [bundle(click("c1"), click("c3", Url="http://first.example")), bundle(click("c3", Url="http://other.example"))]),
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    fill(lake, FEED)
    return lake


def fill(lake: Lake, feed: Sequence[tuple[int, Sequence[str]]]) -> None:
    first = 0
    for days, bodies in feed:
        receive(lake, bodies, first=first, received_at=START + days * DAY)
        flatten_new(lake)
        first += len(bodies)


def everything(lake: Lake) -> dict[str, list[str]]:
    return {
        table: sorted(rows_of(lake, "silver", table).select(pl.struct(pl.all()).struct.json_encode()).to_series())
        for table in silver_tables()
        if lake.open("silver", table) is not None
    }


def versions(lake: Lake) -> dict[str, int]:
    return {table: handle.version() for table in silver_tables() if (handle := lake.open("silver", table)) is not None}


def changed(results: Sequence[Rebuilt]) -> dict[str, tuple[int, int]]:
    return {each.table: (each.added, each.removed) for each in results if each.changed}


def damage(lake: Lake, table: str, predicate: str, updates: dict[str, str] | None = None) -> None:
    handle = DeltaTable(lake.uri_of("silver", table))
    if updates is None:
        handle.delete(predicate)
    else:
        handle.update(updates=updates, predicate=predicate)


def test_a_day_that_is_right_costs_no_commit(lake: Lake) -> None:
    before, stood = everything(lake), versions(lake)
    results = list(rebuild(lake, [FIRST, SECOND]))
    assert changed(results) == {}
    assert [(each.day, each.rows) for each in results if each.table == "clicks"] == [(FIRST, 2), (SECOND, 1)]
    assert everything(lake) == before
    assert versions(lake) == stood


@pytest.mark.parametrize("predicate", ["activity_id = 'c1'", "true"])
def test_rows_that_were_lost_come_back(lake: Lake, predicate: str) -> None:
    before = everything(lake)
    damage(lake, "clicks", predicate)
    results = list(rebuild(lake, [FIRST, SECOND]))
    assert set(changed(results)) == {"clicks"}
    assert everything(lake) == before


def test_rows_that_bronze_does_not_give_go(lake: Lake) -> None:
    before = everything(lake)
    row = rows_of(lake, "silver", "clicks").filter(activity_id="c2").with_columns(activity_id=pl.lit("ghost"))
    write_deltalake(DeltaTable(lake.uri_of("silver", "clicks")), row.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append")
    assert changed(list(rebuild(lake, [FIRST]))) == {"clicks": (0, 1)}
    assert everything(lake) == before


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("source", ["event_feed", "loaded_files"])
def test_rows_whose_message_bronze_has_not_are_never_removed(lake: Lake, source: str, dry_run: bool) -> None:
    """Bronze lost the message, or a whole table of it: nothing could bring the rows back."""
    row = rows_of(lake, "silver", "clicks").filter(activity_id="c2")
    lost = row.with_columns(activity_id=pl.lit("lost"), message_id=pl.lit("none"), source=pl.lit(source))
    write_deltalake(DeltaTable(lake.uri_of("silver", "clicks")), lost.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append")
    before = everything(lake)
    with pytest.raises(PermanentError, match=r"silver/clicks of 2026-03-01 .* has rows of 1 messages that bronze lacks"):
        list(rebuild(lake, [FIRST], dry_run=dry_run))
    assert everything(lake) == before
    assert balance_hours_of_sources(lake, START, START).without_message == 1
    assert not balance_hours_of_sources(lake, START, START).balances


def test_a_silver_table_that_was_removed_is_made_anew_from_bronze(lake: Lake) -> None:
    """What the sentence about a damaged one says. Its accounts are gone with it, and the books say since when there are some."""
    before = everything(lake)
    for table in ("clicks", "opens"):
        shutil.rmtree(lake.uri_of("silver", table))
    list(rebuild(lake, [FIRST, SECOND]))
    assert everything(lake) == before
    found = balance_hours_of_sources(lake, START, START + DAY)
    assert (found.balances, found.proves_all, found.hours) == (True, False, ())


def test_rejected_items_that_were_removed_are_made_anew_by_the_next_run(lake: Lake) -> None:
    before = everything(lake)
    shutil.rmtree(lake.uri_of("silver", "rejected_items"))
    flatten_new(lake)
    assert everything(lake) == before
    assert conservation(lake, above=0).holds
    assert balance_hours_of_sources(lake, START, START + DAY).balances


def test_a_value_that_was_wrong_is_put_right_in_its_row_only(lake: Lake) -> None:
    before = everything(lake)
    damage(lake, "clicks", "activity_id = 'c2'", {"url": "'http://wrong.example'"})
    handle = DeltaTable(lake.uri_of("silver", "clicks"))
    assert changed(list(rebuild(lake, [FIRST]))) == {"clicks": (1, 1)}
    assert everything(lake) == before
    feed = pl.DataFrame(DeltaTable(handle.table_uri).load_cdf(handle.version() + 1).read_all())
    assert sorted(feed.select("activity_id", "_change_type").rows()) == [("c2", "delete"), ("c2", "insert")]


def test_a_dry_run_says_the_same_and_does_nothing(lake: Lake) -> None:
    damage(lake, "clicks", "activity_id = 'c2'")
    damage(lake, "rejected_items", "true")
    damaged, stood = everything(lake), versions(lake)
    told = list(rebuild(lake, [FIRST, SECOND], dry_run=True))
    assert changed(told) == {"clicks": (1, 0), "rejected_items": (1, 0)}
    assert (everything(lake), versions(lake)) == (damaged, stood)
    done = list(rebuild(lake, [FIRST, SECOND]))
    assert [each._replace(version=None) for each in done] == told
    assert list(rebuild(lake, [FIRST, SECOND], dry_run=True)) == [each._replace(added=0, removed=0, version=None) for each in done]


def test_rejects_come_back_with_the_copies_that_differ(lake: Lake) -> None:
    before = everything(lake)
    assert sorted(rows_of(lake, "silver", "rejected_items")["reason"]) == ["conflicting_activity_id", "missing_timestamp"]
    damage(lake, "rejected_items", "true")
    assert changed(list(rebuild(lake, [FIRST, SECOND], tables=["rejected_items"]))) == {"rejected_items": (1, 0)}
    assert everything(lake) == before


def test_a_copy_of_another_day_is_never_brought_in_again(lake: Lake) -> None:
    # The first day's row is gone: its copy of the second day may take its place, once, whichever day is made first.
    damage(lake, "clicks", "activity_id = 'c1'")
    assert changed(list(rebuild(lake, [SECOND]))) == {"clicks": (1, 0)}
    assert changed(list(rebuild(lake, [FIRST, SECOND]))) == {}
    assert sorted(rows_of(lake, "silver", "clicks")["activity_id"]) == ["c1", "c2", "c3"]


def test_what_silver_chose_stays_though_another_copy_was_received_earlier(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    # Two consumers: the later received copy was committed and flattened first.
    receive(lake, [bundle(click("c1", Url="http://same.example"))], first=0, received_at=START + timedelta(minutes=5))
    flatten_new(lake)
    receive(lake, [bundle(click("c1", Url="http://same.example"))], first=1, received_at=START)
    flatten_new(lake)
    assert changed(list(rebuild(lake, [FIRST]))) == {}
    assert rows_of(lake, "silver", "clicks")["message_id"].to_list() == ["m0"]


def test_messages_that_are_not_flattened_yet_are_left_to_live_ingestion(lake: Lake) -> None:
    receive(lake, [bundle(click("new"))], first=9, received_at=START)
    assert changed(list(rebuild(lake, [FIRST]))) == {}
    assert flatten_new(lake).rows == 1
    assert changed(list(rebuild(lake, [FIRST]))) == {}


def test_only_the_asked_for_tables_and_days_are_made(lake: Lake) -> None:
    damage(lake, "clicks", "true")
    damage(lake, "opens", "true")
    assert changed(list(rebuild(lake, [SECOND], tables=["clicks", "opens"]))) == {"clicks": (2, 0)}
    assert changed(list(rebuild(lake, [FIRST], tables=["opens"]))) == {"opens": (1, 0)}
    # The second day's copy of c1 took the place of the first day's.
    assert sorted(rows_of(lake, "silver", "clicks")["activity_id"]) == ["c1", "c3"]


def test_a_day_without_messages_is_nothing(lake: Lake) -> None:
    assert changed(list(rebuild(lake, [date(2020, 1, 1)]))) == {}


def test_a_large_difference_replaces_the_partition(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rederiving, "_FEW_ROWS", 0)
    before = everything(lake)
    damage(lake, "clicks", "activity_id = 'c2'")
    (made,) = (each for each in rebuild(lake, [FIRST]) if each.changed)
    predicate = DeltaTable(lake.uri_of("silver", "clicks")).history(1)[0]["operationParameters"]["predicate"]
    assert (made.table, "activity_id" in predicate) == ("clicks", False)
    assert everything(lake) == before


@pytest.mark.parametrize("other", ["an append to another day", "an append to the day", "a compaction of the day"])
def test_a_commit_of_somebody_else_in_between_is_never_undone(lake: Lake, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """The other writes right before ours lands, behind the look that ours was decided on."""
    before = everything(lake)
    damage(lake, "clicks", "activity_id = 'c2'")
    read = StagedDay.rows
    calls = 0

    def late(day: StagedDay, table: str, wanted: pl.DataFrame) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            if other == "a compaction of the day":
                damage(lake, "clicks", "activity_id = 'none'")
                write_copy(lake)
                DeltaTable(lake.uri_of("silver", "clicks")).optimize.compact(partition_filters=[("received_date", "=", FIRST.isoformat())])
            else:
                days = 2 if other == "an append to another day" else 0
                receive(lake, [bundle(click("new"))], first=50, received_at=START + days * DAY)
                flatten_new(lake)
        return read(day, table, wanted)

    monkeypatch.setattr(StagedDay, "rows", late)
    list(rebuild(lake, [FIRST]))
    after = everything(lake)
    if other == "a compaction of the day":
        assert sorted(rows_of(lake, "silver", "clicks")["activity_id"]) == ["c1", "c2", "c3"]
    else:
        assert len(after["clicks"]) == len(before["clicks"]) + 1
        assert set(before["clicks"]) < set(after["clicks"])
    assert changed(list(rebuild(lake, [FIRST, SECOND, (START + 2 * DAY).date()]))) == {}


def write_copy(lake: Lake) -> None:
    """A second file in the day's partition, which the next look finds to be too much and removes: there is something to compact."""
    row = rows_of(lake, "silver", "clicks").filter(activity_id="c1").with_columns(activity_id=pl.lit("ghost"))
    write_deltalake(DeltaTable(lake.uri_of("silver", "clicks")), row.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append")


ACTIVITIES = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["u1", "u2"])), min_size=1, max_size=4)
FEEDS = st.lists(st.tuples(st.integers(0, 2), st.lists(ACTIVITIES, min_size=1, max_size=3)), min_size=1, max_size=3)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(feed=FEEDS, lost=st.sets(st.sampled_from("abcd")), days=st.permutations(range(3)))
def test_what_micro_batches_made_is_what_is_made_anew(
    feed: list[tuple[int, list[list[tuple[str, str]]]]], lost: set[str], days: list[int]
) -> None:
    """Whatever came when, making days anew changes nothing; and whatever was lost, each activity is there once again."""

    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(f"{folder}/lake")
        bodies = [(offset, [bundle(*(click(each, Url=url) for each, url in some)) for some in bundles]) for offset, bundles in feed]
        fill(lake, bodies)
        before = everything(lake)
        dates = [(START + offset * DAY).date() for offset in days]
        assert changed(list(rebuild(lake, dates))) == {}
        assert everything(lake) == before
        ids = sorted(rows_of(lake, "silver", "clicks")["activity_id"])
        if lost & set(ids):
            damage(lake, "clicks", " OR ".join(f"activity_id = '{each}'" for each in sorted(lost)))
            for day in dates:
                list(rebuild(lake, [day]))
            assert sorted(rows_of(lake, "silver", "clicks")["activity_id"]) == ids
        assert changed(list(rebuild(lake, dates, tables=["clicks", "opens"]))) == {}
