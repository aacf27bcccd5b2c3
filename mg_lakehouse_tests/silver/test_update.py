"""Silver has each activity once, from whatever bronze committed, in whatever runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mg_lakehouse.audit.conservation import Conservation, conservation
from mg_lakehouse.audit.schema import schema_differences
from mg_lakehouse.audit.uniqueness import repeated_ids, repeated_new_ids
from mg_lakehouse.events.catalogue import LINEAGE_COLUMNS, silver_tables
from mg_lakehouse.events.flatten import Flattened, flatten
from mg_lakehouse.lake.commit import Append
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver import commit as silver_commit
from mg_lakehouse.silver import set_aside
from mg_lakehouse.silver.progress import unflattened
from mg_lakehouse.silver.report import TableCount
from mg_lakehouse.silver.update import flatten_new, flatten_sources
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.faults.scenarios import at
from mg_lakehouse_tests.lake.feeds import START, load, receive, rows_of


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def click(activity: str, **children: str) -> str:
    return item("ClickActivity", ActivityId=activity, **children)


def opened(activity: str) -> str:
    return item("OpenActivity", ActivityId=activity)


def test_a_lake_without_bronze_has_nothing_to_flatten(lake: Lake) -> None:
    report = flatten_new(lake)
    assert (report.messages, report.rows, unflattened(lake)) == (0, 0, 0)


def test_only_what_is_new_is_flattened(lake: Lake) -> None:
    receive(lake, [bundle(click("c1"), opened("o1"))])
    assert flatten_new(lake).rows == 2
    assert flatten_new(lake).messages == 0
    receive(lake, [bundle(click("c2"))], first=1)
    assert unflattened(lake) == 1
    second = flatten_new(lake)
    assert (second.messages, second.tables["clicks"]) == (1, TableCount(rows=1))
    assert sorted(rows_of(lake, "silver", "clicks")["activity_id"]) == ["c1", "c2"]
    assert unflattened(lake) == 0


def test_a_copy_is_dropped_and_counted_within_a_batch_and_across_runs(lake: Lake) -> None:
    receive(lake, [bundle(click("c1"), click("c1")), bundle(click("c1"))])
    assert flatten_new(lake).tables["clicks"] == TableCount(rows=1, duplicates=2)
    receive(lake, [bundle(click("c1"), click("c2"))], first=2, received_at=START + timedelta(days=3))
    assert flatten_new(lake).tables["clicks"] == TableCount(rows=1, duplicates=1)
    kept = rows_of(lake, "silver", "clicks").sort("activity_id")
    assert kept.select("activity_id", "message_id", "item_index").rows() == [("c1", "m0", 0), ("c2", "m2", 1)]


def test_the_same_id_in_another_table_is_another_activity(lake: Lake) -> None:
    """All samples of the feed's document share one activity id."""
    receive(lake, [bundle(click("x"), opened("x"))])
    assert flatten_new(lake).rows == 2


def test_a_copy_with_other_content_is_rejected_and_never_overwrites(lake: Lake) -> None:
    receive(lake, [bundle(click("c1", Url="http://first.example"))])
    flatten_new(lake)
    other = click("c1", Url="http://other.example")
    receive(lake, [bundle(opened("o1"), other)], first=1)
    report = flatten_new(lake)
    assert report.tables["clicks"] == TableCount(rows=0, duplicates=0, conflicts=1)
    assert report.rejected == {"conflicting_activity_id": 1}
    assert rows_of(lake, "silver", "clicks")["url"].to_list() == ["http://first.example"]
    (rejected,) = rows_of(lake, "silver", "rejected_items").to_dicts()
    assert (rejected["message_id"], rejected["item_index"], rejected["element"], rejected["fragment"]) == ("m1", 1, "ClickActivity", other)
    assert conservation(lake, above=0).holds


def test_rejects_are_kept_once(lake: Lake) -> None:
    receive(lake, [bundle("<ClickActivity><Url>a&b</Url></ClickActivity>", opened("o1")), "nonsense"])
    report = flatten_new(lake)
    assert (report.rejected, report.rows) == ({"malformed_xml": 1, "not_xml": 1}, 1)
    flatten_new(lake)
    assert rows_of(lake, "silver", "rejected_items").select("message_id", "item_index").rows() == [("m0", 0), ("m1", None)]


class Killed(BaseException):
    """Stands for a process that is gone: nothing may catch it."""


def test_a_run_that_dies_between_two_tables_is_resumed_without_loss_or_copy(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = "<OpenActivity><ActivityId>o9</ActivityId></OpenActivity>"
    receive(lake, [bundle(opened("o1"), click("c1"), opened("o1"), bad)])
    real = silver_commit._commit_table
    committed: list[int] = []

    def die_after_the_first(*arguments: object) -> object:
        if committed:
            raise Killed
        committed.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(silver_commit, "_commit_table", die_after_the_first)
    with pytest.raises(Killed):
        flatten_new(lake)
    monkeypatch.undo()
    receive(lake, [bundle(opened("o2"), opened("o1"))], first=1)
    flatten_new(lake)
    assert sorted(rows_of(lake, "silver", "opens")["activity_id"]) == ["o1", "o2"]
    assert rows_of(lake, "silver", "clicks")["activity_id"].to_list() == ["c1"]
    assert rows_of(lake, "silver", "rejected_items")["reason"].to_list() == ["missing_timestamp"]
    total = conservation(lake, above=0)
    # Six items: o1, c1, a copy of o1 and the reject in the first message, o2 and another copy in the second.
    assert (total.items, total.rows, total.duplicates, total.rejected, total.holds) == (6, 3, 2, 1, True)


def test_a_conflict_found_before_a_crash_is_still_reported_after_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(lake, [bundle(click("c1", Url="a"), click("c1", Url="b"))])

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(silver_commit, "_commit_rejected", die)
    with pytest.raises(Killed):
        flatten_new(lake)
    monkeypatch.undo()
    assert flatten_new(lake).rejected == {"conflicting_activity_id": 1}
    assert rows_of(lake, "silver", "rejected_items").height == 1
    assert conservation(lake, above=0).holds


def test_some_tables_alone_leave_the_others_what_they_lack(lake: Lake) -> None:
    receive(lake, [bundle(opened("o1"), click("c1"))])
    only_clicks = flatten_new(lake, tables=["clicks"])
    assert list(only_clicks.tables) == ["clicks"]
    receive(lake, [bundle(opened("o2"), click("c2"))], first=1)
    flatten_new(lake, tables=["clicks"])
    everything = flatten_new(lake)
    assert everything.tables["opens"].rows == 2
    assert sorted(rows_of(lake, "silver", "clicks")["activity_id"]) == ["c1", "c2"]
    assert conservation(lake, above=0).holds


def test_a_backlog_is_flattened_in_slices_each_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run took the slice behind its own first one for another's work, and flattened all but the first twice."""
    flattened: list[int] = []

    def counting(messages: pl.DataFrame, **options: Any) -> Flattened:
        flattened.append(messages.height)
        return flatten(messages, **options)

    monkeypatch.setattr(set_aside, "flatten", counting)
    for number in range(6):
        receive(lake, [bundle(click(f"c{number}"), click("same"))], first=number)
    steps: list[int] = []
    report = flatten_new(lake, slice_bytes=1, progress=lambda so_far: steps.append(so_far.items))
    assert steps == [2, 4, 6, 8, 10, 12]
    assert flattened == [1] * 6
    assert report.tables["clicks"] == TableCount(rows=7, duplicates=5)
    assert rows_of(lake, "silver", "clicks").height == 7


def test_rows_land_in_the_partition_of_the_day_received(lake: Lake) -> None:
    receive(lake, [bundle(click("c1"))])
    receive(lake, [bundle(click("c2", Timestamp="2020-01-01T00:00:00Z"))], first=1, received_at=START + timedelta(days=1))
    flatten_new(lake)
    folders = sorted(path.name for path in Path(lake.root, "silver", "clicks").glob("received_date=*"))
    assert folders == ["received_date=2026-03-01", "received_date=2026-03-02"]


def test_the_audit_sees_what_was_done_behind_the_pipeline(lake: Lake) -> None:
    """A check that cannot fail is none: a row copied by hand, and one taken away, must show."""
    receive(lake, [bundle(click("c1"), click("c2"))])
    flatten_new(lake)
    handle = lake.open("silver", "clicks")
    assert handle is not None
    before = handle.version()
    assert (
        repeated_new_ids(lake, lake.open("silver", "clicks"), above=-1),
        repeated_ids(lake, lake.open("silver", "clicks")),
        schema_differences(lake, "clicks"),
    ) == (0, 0, [])
    copied = rows_of(lake, "silver", "clicks").filter(pl.col("activity_id") == "c1")
    copied.write_delta(lake.uri_of("silver", "clicks"), mode="append")
    assert repeated_new_ids(lake, lake.open("silver", "clicks"), above=before) == 1
    assert repeated_ids(lake, lake.open("silver", "clicks")) == 1


def test_conservation_shows_a_lost_row(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(lake, [bundle(click("c1"), click("c2"))])
    real: Any = Append

    def lose_a_row(rows: pl.DataFrame, *rest: object, **options: object) -> object:
        return real(rows.head(rows.height - 1), *rest, **options)

    monkeypatch.setattr(silver_commit, "Append", lose_a_row)
    flatten_new(lake)
    found = conservation(lake, above=0)
    assert not found.holds
    assert found.miscounted == ("clicks",)


CONTENT = [column.name for column in LINEAGE_COLUMNS if column.name != "_rescued_data"]

activities = st.tuples(
    st.sampled_from(["OpenActivity", "ClickActivity", "BouncedMessageActivity", "NewActivity"]),
    st.integers(0, 8),
    st.sampled_from(["", "<Extra>1</Extra>"]),
)


def write(activity: tuple[str, int, str]) -> str:
    """The content follows the id, so that a copy is a copy."""
    element, number, _ = activity
    extra = "<Extra>1</Extra>" if number % 2 else ""
    text = item(element, ActivityId=f"id{number}", Timestamp=f"2026-02-{10 + number}T10:00:00Z")
    return text.replace(f"</{element}>", f"{extra}</{element}>")


def contents(lake: Lake) -> dict[str, list[tuple[object, ...]]]:
    """Rows of every table without the columns that say how they came here, in a fixed order."""
    found = {}
    for table in silver_tables():
        handle = lake.open("silver", table)
        if handle is None or table == "rejected_items":
            continue
        rows = rows_of(lake, "silver", table).drop(CONTENT).sort("activity_id").rows()
        if rows:
            found[table] = rows
    return found


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bundles=st.lists(st.lists(activities, max_size=5), min_size=1, max_size=6),
    cuts=st.sets(st.integers(1, 5)),
    order=st.randoms(use_true_random=False),
)
def test_any_split_in_any_order_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, bundles: list[list[tuple[str, int, str]]], cuts: set[int], order: object
) -> None:
    bodies = [bundle(*map(write, activities)) for activities in bundles]
    whole = Lake(str(tmp_path_factory.mktemp("whole")))
    receive(whole, bodies)
    flatten_new(whole)

    shuffled = list(enumerate(bodies))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    split = Lake(str(tmp_path_factory.mktemp("split")))
    for index, (number, body) in enumerate(shuffled):
        receive(split, [body], first=number)
        if index in cuts:
            flatten_new(split)
    flatten_new(split)

    assert contents(split) == contents(whole)
    expected = {(element, number) for activities in bundles for element, number, _ in activities}
    assert sum(len(rows) for rows in contents(whole).values()) == len(expected)
    assert conservation(split, above=0).holds


def flatten_the_first_slice(lake: Lake) -> None:
    """What another run does that is killed behind its first slice."""

    def die(_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        flatten_new(lake, slice_bytes=1, progress=die)


def test_a_slice_that_another_run_overtook_is_cut_anew(lake: Lake) -> None:
    """The other run's ledger and ours would overlap: the copy within the first message would be counted twice."""
    receive(lake, [bundle(click("c1"), click("c1"))])
    receive(lake, [bundle(click("c2"))], first=1)
    with at(Failpoint.SILVER_READ, lambda: flatten_the_first_slice(lake)):
        flatten_new(lake)
    assert sorted(rows_of(lake, "silver", "clicks")["activity_id"]) == ["c1", "c2"]
    total = conservation(lake, above=0)
    assert (total.items, total.rows, total.duplicates, total.miscounted, total.holds) == (3, 2, 1, (), True)
    assert unflattened(lake) == 0


def test_a_slice_of_rejects_that_another_run_overtook_is_cut_anew(lake: Lake) -> None:
    bad = "<OpenActivity><ActivityId>o9</ActivityId></OpenActivity>"
    receive(lake, [bundle(bad)])
    receive(lake, [bundle(bad)], first=1)
    with at(Failpoint.SILVER_READ, lambda: flatten_the_first_slice(lake)):
        flatten_new(lake)
    assert sorted(rows_of(lake, "silver", "rejected_items")["message_id"]) == ["m0", "m1"]
    total = conservation(lake, above=0)
    assert (total.items, total.rejected, total.miscounted, total.holds) == (2, 2, (), True)


def test_two_sources_that_flatten_one_activity_at_once_give_one_row(lake: Lake) -> None:
    """Each looks before the other has committed; the lane of the table lets one of them commit, and the other looks again."""
    receive(lake, [bundle(click("c1"))])
    load(lake, [bundle(click("c1"))])

    def other() -> None:
        flatten_new(lake, source="loaded_files")

    with at(Failpoint.COMMIT_DECIDED, other, about="silver/clicks"):
        report = flatten_new(lake)
    assert rows_of(lake, "silver", "clicks").select("activity_id", "source").rows() == [("c1", "loaded_files")]
    assert report.tables["clicks"] == TableCount(rows=0, duplicates=1)
    assert repeated_ids(lake, lake.open("silver", "clicks")) == 0
    assert all(conservation(lake, source=source, above=0).holds for source in ("event_feed", "loaded_files"))


def test_a_copy_from_another_source_is_a_duplicate_whatever_it_says(lake: Lake) -> None:
    """A file writes an event's time with another offset, and its texts in another form: it is the same event all the same."""
    receive(lake, [bundle(click("c1", Url="https://shop.example/"))])
    load(lake, [bundle(click("c1", Url="https://shop.example", Timestamp="2026-02-28T05:00:00Z"))])
    reports = flatten_sources(lake)
    assert reports["loaded_files"].tables["clicks"] == TableCount(rows=0, duplicates=1)
    assert reports["loaded_files"].rejected == {}
    assert rows_of(lake, "silver", "clicks")["source"].to_list() == ["event_feed"]


def test_an_id_that_occurs_twice_is_seen_among_the_new_rows_and_in_the_whole_table(lake: Lake) -> None:
    receive(lake, [bundle(click("c1"), click("c2"))])
    flatten_new(lake)
    handle = lake.open("silver", "clicks")
    assert handle is not None
    before = handle.version()
    assert (repeated_new_ids(lake, lake.open("silver", "clicks"), above=before - 1), repeated_ids(lake, lake.open("silver", "clicks"))) == (
        0,
        0,
    )
    rows_of(lake, "silver", "clicks").filter(pl.col("activity_id") == "c1").write_delta(lake.uri_of("silver", "clicks"), mode="append")
    assert repeated_new_ids(lake, lake.open("silver", "clicks"), above=before) == 1
    assert repeated_ids(lake, lake.open("silver", "clicks")) == 1


def test_conservation_of_two_sources_holds_where_each_does() -> None:
    """Gold was built where one source lacked what the other had twice."""
    right = Conservation(messages=1, items=2, rows=1, duplicates=1, rejected=0, miscounted=())
    short, long = replace(right, items=3), replace(right, items=1)
    assert (short.holds, long.holds, right.plus(right).holds) == (False, False, True)
    assert (short.plus(long).difference, short.plus(long).holds) == (0, False)
    assert not short.plus(long).plus(right).holds
    assert not right.plus(replace(right, miscounted=("clicks",))).holds
    assert replace(right, miscounted=("opens",)).plus(replace(right, miscounted=("clicks",))).miscounted == ("opens", "clicks")
