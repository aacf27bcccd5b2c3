"""A silver table has an activity id once, however far apart the times of its copies are, whatever became of what is known of its ids."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mg_lakehouse._util.progress import Step, on_remark, on_step
from mg_lakehouse.audit.uniqueness import repeated_ids, repeated_new_ids
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.file_stats import files_between
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.maintenance.run import maintain
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver import id_entries, id_files
from mg_lakehouse.silver import known_ids as known
from mg_lakehouse.silver.id_entries import Run, cover, entries_of, first_places, hours_of_known, keys_of, merged, spans_of, taken_in
from mg_lakehouse.silver.id_files import FOLDER
from mg_lakehouse.silver.known_ids import KnownIds, known_ids
from mg_lakehouse.silver.rebuild import rebuild
from mg_lakehouse.silver.report import TableCount
from mg_lakehouse.silver.tables import EVENT_TABLES, silver_spec
from mg_lakehouse.silver.update import flatten_new, flatten_sources
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.faults.scenarios import Died, at, die
from mg_lakehouse_tests.lake.feeds import START, add_clicks, load, receive, rows_of

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY: Final = timedelta(days=1)
SAME_ID: Final = Path(__file__).parents[1] / "fixtures" / "same_id"
TIMES: Final = pl.Datetime("us", "UTC")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def click(activity: str, when: datetime = NOON, **children: str) -> str:
    return item("ClickActivity", ActivityId=activity, Timestamp=when.isoformat(), **children)


def clicks(lake: Lake) -> list[str]:
    return sorted(rows_of(lake, "silver", "clicks")["activity_id"])


def opened(lake: Lake, table: str = "clicks") -> DeltaTable:
    handle = lake.open("silver", table)
    assert handle is not None
    return handle


def files(lake: Lake, table: str = "clicks") -> dict[str, bytes]:
    """The files of known ids of a table, by path."""
    folder = Path(lake.uri_of("silver", table), FOLDER)
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def found(lake: Lake, handle: DeltaTable, *ids: str) -> list[str]:
    rows = known_ids(lake, handle).rows(pl.Series(ids, dtype=pl.String))
    return [] if rows is None else sorted(rows.collect()["activity_id"])


# What is known, as numbers.

ids_and_times = st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), st.datetimes()), max_size=30)


@given(ids_and_times, st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3), max_size=10))
def test_each_id_is_known_in_the_hour_of_its_event_and_no_other_id_is(rows: list[tuple[str, datetime]], others: list[str]) -> None:
    """Whatever the ids and the times, those that no calendar of events has included."""
    ids = pl.Series([name for name, _ in rows], dtype=pl.String)
    times = pl.Series([when.replace(tzinfo=UTC) for _, when in rows], dtype=TIMES)
    entries = entries_of(keys_of(ids), times)
    asked = pl.Series(sorted({*ids, *others}), dtype=pl.String)
    keys = pl.DataFrame({"id": asked, "entry": keys_of(asked)}).sort("entry")
    hours = hours_of_known(entries, keys["entry"])
    assert {keys["id"][place] for place in hours["place"]} == set(ids)
    for place, hour in hours.iter_rows():
        ((first, last),) = spans_of(pl.Series([hour], dtype=pl.UInt64))
        assert any(name == keys["id"][place] and first <= when.replace(tzinfo=UTC) <= last for name, when in rows)


def test_what_is_known_holds_no_id(lake: Lake) -> None:
    receive(lake, [bundle(click("pat@example.com"))])
    flatten_new(lake)
    assert files(lake)
    assert not any(b"example" in content or "example" in name for name, content in files(lake).items())
    assert {len(content) for content in files(lake).values()} == {8}


numbers = st.integers(0, 2**64 - 1) | st.integers(0, 50) | st.integers(2**64 - 50, 2**64 - 1)


@given(st.lists(numbers, max_size=2_000), st.lists(numbers, max_size=50), st.integers(0, 1_000), st.sampled_from([1, 4, 128]))
def test_places_are_those_of_a_plain_search_however_unevenly_the_entries_lie(
    entries: list[int], keys: list[int], even: int, around: int
) -> None:
    spread = [number * (2**64 // 1_000) for number in range(even)]
    column, asked = np.array(sorted(entries + spread), np.uint64), np.array(sorted(keys + entries[:20]), np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_entries, "_AROUND", around)
        assert first_places(column, asked).tolist() == np.searchsorted(column, asked).tolist()


columns = st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=60), max_size=5)


@given(columns)
def test_columns_are_merged_in_order_and_each_entry_once(entries: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_entries, "_MERGED_AT_ONCE", 16)
        pieces = list(merged([pl.Series(sorted(each), dtype=pl.UInt64) for each in entries]))
    assert [entry for piece in pieces for entry in piece] == sorted({entry for each in entries for entry in each})


runs_of_versions = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda ends: Run(min(ends), max(ends), 0, 1)), max_size=10, unique=True
)


@given(runs_of_versions)
def test_runs_cover_the_versions_from_the_first_as_far_as_they_go(runs: list[Run]) -> None:
    chosen = cover(runs)
    had = {version for run in runs for version in range(run.first, run.last + 1)}
    reached = next(version for version in itertools.count() if version not in had)
    assert {version for run in chosen for version in range(run.first, run.last + 1)} >= set(range(reached))
    assert (chosen[-1].last + 1 if chosen else 0) == reached
    assert len(chosen) <= len(set(runs))


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=400), st.integers(0, 10**8))
def test_files_are_few_and_each_id_is_written_a_few_times(batches: list[int], history: int) -> None:
    """A history of any size and batches of any sizes: at most one small file, and from each file to the next less than a fifth is left."""
    runs = [Run(0, 0, 0, history)]
    written = 0
    for version, count in enumerate(batches, start=1):
        taken = taken_in(runs, count)
        total = count + sum(run.entries for run in taken)
        runs = [*runs[: len(runs) - len(taken)], Run(0, version, 0, total)]
        written += total
    sizes = [run.entries for run in runs]
    assert all(before > 4 * after for before, after in itertools.pairwise(sizes))
    assert len(sizes) <= 8
    rewritten = written - sum(batches)
    assert rewritten <= 8_192 * len(batches) + 8 * sum(batches) + (history if len(sizes) == 1 else 0)


# Where rows are found.


def test_a_row_is_found_however_far_its_time_is_and_whatever_its_source(lake: Lake) -> None:
    add_clicks(lake, "event_feed", near=NOON, old=NOON - 400 * DAY, ancient=datetime(1, 1, 1, tzinfo=UTC))
    handle = add_clicks(lake, "account_activity", late=NOON + 300 * DAY, last=datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
    assert found(lake, handle, "near", "new") == ["near"]
    assert found(lake, handle, "new") == []
    assert found(lake, handle, "late", "old", "last", "near", "ancient") == ["ancient", "last", "late", "near", "old"]


def test_a_row_in_a_file_without_statistics_is_found(lake: Lake) -> None:
    lake.ensure(silver_spec("clicks")).alter.set_table_properties({"delta.dataSkippingStatsColumns": "received_at"})
    handle = add_clicks(lake, unknown=NOON + timedelta(hours=5))
    assert found(lake, handle, "unknown") == ["unknown"]


def test_files_that_cannot_hold_a_copy_are_not_opened(lake: Lake) -> None:
    add_clicks(lake, before=NOON - 3 * DAY)
    handle = add_clicks(lake, here=NOON)
    assert found(lake, handle, "here") == ["here"]
    for file in files_between(handle, "event_at", [(NOON - 4 * DAY, NOON - 2 * DAY)]):
        Path(file).unlink()
    assert found(lake, handle, "here") == ["here"]


def test_a_new_id_is_known_to_be_new_without_a_look_into_the_table(lake: Lake) -> None:
    handle = add_clicks(lake, here=NOON)
    assert found(lake, handle, "here") == ["here"]
    for file in handle.file_uris():
        Path(file.removeprefix("file://")).unlink()
    assert found(lake, handle, "new") == []


def test_nothing_is_known_of_an_empty_table(lake: Lake) -> None:
    assert found(lake, lake.ensure(silver_spec("clicks")), "c1") == []


# One row for an activity.


def test_the_same_id_at_another_time_is_one_row_and_the_other_a_conflict(lake: Lake) -> None:
    """A time without an offset is UTC, five hours before the one at -05:00, and two minutes later is another time as well."""
    load(lake, [SAME_ID.joinpath("1.xml").read_text()])
    flatten_sources(lake)
    load(lake, [SAME_ID.joinpath("2.xml").read_text()], first=1, received_at=START + DAY)
    report = flatten_sources(lake)["loaded_files"]
    assert sorted(rows_of(lake, "silver", "opens")["activity_id"]) == ["d1", "d2"]
    assert report.tables["opens"] == TableCount(rows=0, duplicates=0, conflicts=2)
    rejects = rows_of(lake, "silver", "rejected_items").select("reason", "message_id").rows()
    assert rejects == [("conflicting_activity_id", "b1")] * 2
    assert [each for each in rebuild(lake, [START.date(), (START + DAY).date()]) if each.changed] == []


def test_the_same_instant_with_another_offset_is_a_duplicate(lake: Lake) -> None:
    receive(lake, [bundle(item("ClickActivity", ActivityId="c1", Timestamp="2026-03-02T10:00:00-05:00"))])
    flatten_new(lake)
    same = [
        bundle(item("ClickActivity", ActivityId="c1", Timestamp=when)) for when in ("2026-03-02T15:00:00Z", "2026-03-02T16:00:00+01:00")
    ]
    receive(lake, same, first=1)
    assert flatten_new(lake).tables["clicks"] == TableCount(rows=0, duplicates=2)
    assert rows_of(lake, "silver", "clicks")["utc_offset_minutes"].to_list() == [-300]
    assert [each for each in rebuild(lake, [START.date()]) if each.changed] == []


def test_another_sources_copy_of_months_later_is_a_duplicate(lake: Lake) -> None:
    receive(lake, [bundle(click("c1"))])
    flatten_new(lake)
    load(lake, [bundle(click("c1", NOON + 90 * DAY))], received_at=START + 90 * DAY)
    assert flatten_sources(lake)["loaded_files"].tables["clicks"] == TableCount(rows=0, duplicates=1)
    assert clicks(lake) == ["c1"]


events = st.tuples(
    st.sampled_from(["ClickActivity", "OpenActivity"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([timedelta(0), timedelta(seconds=30), timedelta(minutes=2), DAY, -400 * DAY]),
    st.sampled_from([0, 60, -300]),
    st.sampled_from(["", "x"]),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    messages=st.lists(st.tuples(st.sampled_from([receive, load]), st.lists(events, min_size=1, max_size=3)), min_size=2, max_size=6),
    days=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    waits=st.sets(st.integers(0, 4)),
    forgets=st.sets(st.integers(0, 4)),
)
def test_whatever_the_order_and_the_times_an_id_is_there_once_and_a_rebuild_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    messages: list[tuple[Callable[..., object], list[tuple[str, str, timedelta, int, str]]]],
    days: list[int],
    waits: set[int],
    forgets: set[int],
) -> None:
    """``waits`` are messages that are flattened together with the next; before ``forgets`` the known ids are lost."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    ordered = sorted(days[: len(messages)])
    for number, ((bring, items), day) in enumerate(zip(messages, ordered, strict=True)):
        bring(lake, [bundle(*map(_written, items))], first=number, received_at=START + day * DAY + timedelta(minutes=number))
        if number in forgets:
            for table in EVENT_TABLES:
                shutil.rmtree(Path(lake.uri_of("silver", table), FOLDER), ignore_errors=True)
        if number not in waits:
            flatten_sources(lake)
    flatten_sources(lake)

    there = {table: rows_of(lake, "silver", table) for table in ("clicks", "opens") if lake.open("silver", table) is not None}
    wanted = {(element, name) for _, items in messages for element, name, *_ in items}
    assert sum(rows.height for rows in there.values()) == len(wanted)
    assert all(rows["activity_id"].is_unique().all() for rows in there.values())

    every = [START.date() + day * DAY for day in range(3)]
    assert [each for each in rebuild(lake, every) if each.changed] == []
    if not waits:  # else two sources may have been flattened in another order than that of receipt, which nobody knows any more
        before = _content(lake)
        for table in EVENT_TABLES:
            shutil.rmtree(lake.uri_of("silver", table), ignore_errors=True)
        list(rebuild(lake, every))
        assert _content(lake) == before


def _written(event: tuple[str, str, timedelta, int, str]) -> str:
    element, name, later, offset, text = event
    when = (NOON + later) + timedelta(minutes=offset)
    sign = "-" if offset < 0 else "+"
    stamp = f"{when:%Y-%m-%dT%H:%M:%S}{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    return item(element, ActivityId=name, Timestamp=stamp, **({"CampaignId": text} if text else {}))


def _content(lake: Lake) -> dict[str, list[str]]:
    return {
        table: sorted(rows_of(lake, "silver", table).select(pl.struct(pl.all()).struct.json_encode()).to_series())
        for table in ("clicks", "opens", "rejected_items")
        if lake.open("silver", table) is not None
    }


# Whatever became of what is known.


def flattened(lake: Lake, *names: str, first: int = 0) -> None:
    receive(
        lake, [bundle(*(click(name, NOON + index * DAY) for index, name in enumerate(names)))], first=first, received_at=START + first * DAY
    )
    flatten_new(lake)


def copies_are_known(lake: Lake, *names: str, first: int) -> None:
    """A second delivery of each, at another time, adds nothing."""
    before = clicks(lake)
    receive(lake, [bundle(*(click(name, NOON + 50 * DAY) for name in names))], first=first, received_at=START + first * DAY)
    count = flatten_new(lake).tables["clicks"]
    assert (count.rows, count.duplicates + count.conflicts) == (0, len(names))
    assert clicks(lake) == before
    assert repeated_ids(lake, opened(lake)) == 0


def lose_all(lake: Lake) -> None:
    shutil.rmtree(Path(lake.uri_of("silver", "clicks"), FOLDER))


def lose_newest(lake: Lake) -> None:
    newest = max(known_files(lake), key=lambda file: file.stat().st_mtime_ns)
    newest.unlink()


def cut_short(lake: Lake) -> None:
    for file in known_files(lake):
        file.write_bytes(file.read_bytes()[:-8])


def leave_rubbish(lake: Lake) -> None:
    for file in known_files(lake):
        file.with_name("0-99-x.ids1").write_bytes(b"rubbish")
        file.with_name(".draft").write_bytes(b"rubbish")


def cut_the_log(lake: Lake) -> None:
    """Another program appended, and then the log was cut behind its entry."""
    handle = add_clicks(lake, foreign=NOON)
    handle.create_checkpoint()
    for entry in sorted(Path(lake.uri_of("silver", "clicks"), "_delta_log").glob("*.json"))[:-1]:
        entry.unlink()


def cut_the_middle_of_the_log(lake: Lake) -> None:
    """The entry that the files end with is there, and the one behind it is not: a change feed has nothing of it."""
    version = opened(lake).version()
    add_clicks(lake, foreign=NOON)
    add_clicks(lake, stranger=NOON).create_checkpoint()
    Path(lake.uri_of("silver", "clicks"), "_delta_log", f"{version + 1:020}.json").unlink()


def append_by_hand(lake: Lake) -> None:
    add_clicks(lake, foreign=NOON - 30 * DAY)


def known_files(lake: Lake) -> list[Path]:
    return [file for file in Path(lake.uri_of("silver", "clicks"), FOLDER).rglob("*.ids1") if file.is_file()]


@pytest.mark.parametrize(
    "happens", [lose_all, lose_newest, cut_short, leave_rubbish, cut_the_log, cut_the_middle_of_the_log, append_by_hand]
)
def test_a_copy_is_known_whatever_became_of_the_files(lake: Lake, happens: Callable[[Lake], None]) -> None:
    flattened(lake, "c1", "c2")
    flattened(lake, "c3", first=1)
    happens(lake)
    copies_are_known(lake, *clicks(lake), first=2)
    flattened(lake, "c4", first=3)
    copies_are_known(lake, *clicks(lake), first=4)


def test_a_table_that_was_restored_does_not_trust_what_was_known_of_its_lost_versions(lake: Lake, tmp_path: Path) -> None:
    """The folder of known ids stays as it was, and the table goes on to the same version with another commit."""
    flattened(lake, "c1")
    shutil.copytree(lake.root, tmp_path / "backup")
    flattened(lake, "c2", first=1)
    newer = Path(shutil.copytree(Path(lake.uri_of("silver", "clicks"), FOLDER), tmp_path / "newer"))
    version = opened(lake).version()
    shutil.rmtree(lake.root)
    shutil.copytree(tmp_path / "backup", lake.root)
    add_clicks(restored := Lake(lake.uri), foreign=NOON)
    shutil.rmtree(Path(lake.uri_of("silver", "clicks"), FOLDER))
    shutil.copytree(newer, Path(lake.uri_of("silver", "clicks"), FOLDER))
    assert opened(restored).version() == version
    copies_are_known(restored, "c1", "foreign", first=1)


def test_a_table_that_was_made_anew_does_not_trust_what_was_known_of_the_old_one(lake: Lake, tmp_path: Path) -> None:
    flattened(lake, "c1")
    kept = shutil.copytree(Path(lake.uri_of("silver", "clicks"), FOLDER), tmp_path / "kept")
    shutil.rmtree(lake.uri_of("silver", "clicks"))
    list(rebuild(lake, [START.date()]))
    shutil.copytree(kept, Path(lake.uri_of("silver", "clicks"), FOLDER), dirs_exist_ok=True)
    copies_are_known(lake, "c1", first=1)
    assert clicks(lake) == ["c1"]


def test_a_copy_of_a_table_takes_what_is_known_along(lake: Lake, tmp_path: Path) -> None:
    flattened(lake, "c1")
    elsewhere = Lake(str(shutil.copytree(lake.root, tmp_path / "elsewhere")))
    before = files(elsewhere)
    assert found(elsewhere, opened(elsewhere), "c1") == ["c1"]
    assert files(elsewhere) == before


@pytest.mark.parametrize(
    ("point", "about"), [(Failpoint.COMMIT_DECIDED, "silver/clicks"), (Failpoint.COMMIT_DONE, "silver/clicks"), (Failpoint.IDS_WRITTEN, "")]
)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_run_killed_at_any_point_leaves_no_copy_unknown(lake: Lake, point: Failpoint, about: str, nth: int) -> None:
    flattened(lake, "c1")
    receive(lake, [bundle(click("c1", NOON + DAY), click("c2"))], first=1, received_at=START + DAY)
    receive(lake, [bundle(click("c2", NOON + DAY), click("c3"))], first=2, received_at=START + 2 * DAY)
    with at(point, die, about=about, nth=nth), pytest.raises(Died):
        flatten_new(lake, slice_bytes=1)
    flatten_new(lake)
    assert clicks(lake) == ["c1", "c2", "c3"]
    copies_are_known(lake, "c1", "c2", "c3", first=3)


def test_an_existing_table_is_read_once_and_a_run_that_was_killed_is_gone_on_with(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        add_clicks(lake, "event_feed", **{f"old{number}": NOON - number * DAY})
    monkeypatch.setattr(known, "_READ_AT_ONCE", 1)
    monkeypatch.setattr(known, "_WORTH_SAYING", 1)
    handle = opened(lake)
    with at(Failpoint.IDS_WRITTEN, die, nth=4), pytest.raises(Died):
        known_ids(lake, handle)
    for file in files_between(handle, "event_at", [(NOON - 5 * DAY, NOON - 2 * DAY)]):  # what was read of them is kept
        Path(file).rename(f"{file}.aside")
    remarks: list[str] = []
    steps: list[Step] = []
    with on_remark(remarks.append), on_step(steps.append):
        known_ids(lake, handle)
    assert [len(content) // 8 for content in files(lake).values()] == [6]
    assert remarks == ["silver/clicks: the ids of its 6 rows are read, once, so that a copy is known however old its row is."]
    assert [step.done for step in steps] == [1, 2, 3, 4, 5, 6]
    for aside in Path(lake.uri_of("silver", "clicks")).rglob("*.aside"):
        aside.rename(aside.with_suffix(""))
    assert found(lake, handle, "old5", "old0", "old3", "new") == ["old0", "old3", "old5"]
    flattened(lake, "new")
    assert max(len(content) // 8 for content in files(lake).values()) == 7
    assert not [name for name in files(lake) if "part-" in name]


def test_what_only_reports_writes_nothing(lake: Lake) -> None:
    flattened(lake, "c1")
    shutil.rmtree(Path(lake.uri_of("silver", "clicks"), FOLDER))
    list(rebuild(lake, [START.date()], dry_run=True))
    list(maintain(lake, Settings(), layers=["silver"], dry_run=True))
    assert files(lake) == {}


def test_maintenance_leaves_what_is_known_and_the_next_run_reads_no_table_anew(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction, vacuum and a log that is cut to its newest checkpoint: nothing of the past is kept."""
    for number in range(5):
        flattened(lake, f"c{number}", first=number)
    nothing_kept = Settings(small_files=2).model_copy(update={"keep_files_days": 0, "keep_log_days": 0})
    list(maintain(lake, nothing_kept))
    list(maintain(lake, nothing_kept))
    assert len(files(lake)) <= 2
    monkeypatch.setattr(known, "_all_ids", None)
    copies_are_known(lake, "c0", "c4", first=5)
    assert repeated_new_ids(lake, opened(lake), above=-1) == 0


def test_files_stay_few_however_many_commits_there_are(lake: Lake) -> None:
    for number in range(12):
        flattened(lake, f"c{number}", first=number)
    assert len(files(lake)) == 2  # the newest, and the one that it took in
    assert max(len(content) for content in files(lake).values()) == 12 * 8


# Two writers at once.


def test_a_rebuild_that_adds_a_row_while_its_copy_comes_gives_way(lake: Lake) -> None:
    flattened(lake, "c1", "c2")
    opened(lake).delete("activity_id = 'c1'")

    def other() -> None:
        flattened(lake, "c1", first=1)

    with at(Failpoint.COMMIT_DECIDED, other, about="silver/clicks of 2026-03-01"):
        list(rebuild(lake, [START.date()]))
    rows = rows_of(lake, "silver", "clicks").sort("activity_id").select("activity_id", "message_id").rows()
    assert rows == [("c1", "m1"), ("c2", "m0")]


def test_a_run_that_adds_a_copy_while_a_rebuild_adds_its_row_looks_again(lake: Lake) -> None:
    flattened(lake, "c1", "c2")
    opened(lake).delete("activity_id = 'c1'")
    receive(lake, [bundle(click("c1", NOON + DAY))], first=1, received_at=START + DAY)

    def other() -> None:
        list(rebuild(Lake(lake.uri), [START.date()]))

    with at(Failpoint.COMMIT_DECIDED, other, about="silver/clicks in"):
        flatten_new(lake)
    rows = rows_of(lake, "silver", "clicks").sort("activity_id").select("activity_id", "message_id").rows()
    assert rows == [("c1", "m0"), ("c2", "m0")]


def test_files_that_another_run_took_in_are_looked_for_again(lake: Lake) -> None:
    """Between a look at the names and a look into a file, the file may go."""
    flattened(lake, "c1")
    handle = opened(lake)
    before: KnownIds = known_ids(lake, handle)
    id_files._held.clear()
    for number in range(1, 4):
        flattened(Lake(lake.uri), f"d{number}", first=number)
    id_files._held.clear()
    with pytest.raises(Exception, match="were merged by another run: try again"):
        before.rows(pl.Series(["c1"]))
    assert found(lake, opened(lake), "c1") == ["c1"]
