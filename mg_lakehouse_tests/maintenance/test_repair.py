"""Damaged bronze repaired: what no commit tells of any more is there again, each message once, and silver and the books with it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.audit.hourly_balance import balance_hours, balance_hours_of_sources
from mg_lakehouse.bronze.append import append_batch, ledger_of
from mg_lakehouse.bronze.read_progress import require_whole
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import posted_batches
from mg_lakehouse.maintenance.repair import SIDE_FOLDER, Repair, planned_repair, repair
from mg_lakehouse.silver.rebuild import rebuild
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.lake.feeds import START, batch, receive, rows_of
from mg_lakehouse_tests.templates import copied

HOUR: Final = timedelta(hours=1)
BATCHES: Final = 4
ALL: Final = sorted(f"m{10 * number + at}" for number in range(BATCHES) for at in range(3))
OPENS: Final = sorted(f"o{number}-{at}" for number in range(BATCHES) for at in range(2))


def bodies(number: int) -> list[str]:
    """Three messages: an open each in two, and one that is no XML. One open comes twice, which is a duplicate."""
    opens = [item("OpenActivity", ActivityId=f"o{number}-{at}", RequestId="t1") for at in range(2)]
    return [bundle(opens[0]), bundle(opens[1], opens[0]), "<ActivityItems><broken"]


def received(number: int) -> datetime:
    return START + number * HOUR


@cache
def template(flattened: int) -> tempfile.TemporaryDirectory[str]:
    """A lake of all batches, so many of them flattened; made once, and removed with the process."""
    folder = tempfile.TemporaryDirectory()
    lake = Lake(f"{folder.name}/lake")
    for number in range(BATCHES):
        receive(lake, bodies(number), first=10 * number, received_at=received(number))
        if number < flattened:
            flatten_new(lake)
    return folder


def filled(folder: Path, *, flattened: int) -> Lake:
    """A lake that another process filled: what a process has seen whole it does not look at again."""
    return copied(Path(template(flattened).name, "lake"), folder / "lake")


def again(number: int) -> pl.DataFrame:
    """The messages of a batch as they come again."""
    named = {f"m{10 * number + at}": body for at, body in enumerate(bodies(number))}
    return batch(named, batch_id="again", sent_at=received(number), received_at=received(number))


def entry(lake: Lake, version: int) -> Path:
    return Path(lake.uri_of("bronze", "event_feed"), "_delta_log", f"{version:020}.json")


def empty(file: Path) -> None:
    file.write_bytes(b"")


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def zeros(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def foreign(file: Path) -> None:
    file.write_text('{"hello": "world"}\n')


def missing(file: Path) -> None:
    file.unlink()


DAMAGES: Final[list[Callable[[Path], None]]] = [empty, torn, zeros, foreign, missing]


def is_whole(lake: Lake) -> None:
    """Each message once, in the table and in its feed, each open once; every hour and account adds up."""
    handle = lake.open("bronze", "event_feed")
    assert handle is not None
    assert sorted(rows_of(lake, "bronze", "event_feed")["message_id"]) == ALL
    assert sorted(pl.DataFrame(handle.load_cdf(1).read_all())["message_id"]) == ALL
    assert sorted(rows_of(lake, "silver", "opens")["activity_id"]) == OPENS
    summed = conservation(lake, above=0)
    assert (summed.holds, summed.messages, summed.items, summed.rows, summed.duplicates, summed.rejected) == (
        True,
        3 * BATCHES,
        4 * BATCHES,
        2 * BATCHES,
        BATCHES,
        BATCHES,
    )
    found = balance_hours(lake, START, START + BATCHES * HOUR)
    assert found.balances
    assert [(hour.received, hour.in_bronze, hour.items, hour.rows) for hour in found.hours] == [(3, 3, 4, 2)] * BATCHES
    assert sum(posted.rows_added for posted in posted_batches(handle)) == 3 * BATCHES


@pytest.mark.parametrize(
    ("damage", "version", "flattened"),
    [
        each
        for each in itertools.product(DAMAGES, [BATCHES, 2], [BATCHES, BATCHES - 1, 0])
        if each not in {(missing, BATCHES, BATCHES - 1), (missing, BATCHES, 0)}  # nothing is left that could tell of such a commit
    ],
)
def test_a_damaged_commit_is_set_aside_and_its_messages_are_there_again(
    tmp_path: Path, damage: Callable[[Path], None], version: int, flattened: int
) -> None:
    """Whether silver had read the commit or not, and whether others stand behind it. An entry that is missing at the log's end is told by silver alone."""
    lake = filled(tmp_path, flattened=flattened)
    damage(entry(lake, version))
    damaged = entry(lake, version).read_bytes() if damage is not missing else None
    for refused in (lambda: flatten_new(lake), lambda: balance_hours(lake, START, START), lambda: list(rebuild(lake, [START.date()]))):
        with pytest.raises(PermanentError, match=r"bronze/event_feed .* is damaged: .*`mg-lakehouse repair bronze`"):
            refused()
    before = {file: file.read_bytes() for file in Path(lake.root).rglob("*") if file.is_file()}

    plan = planned_repair(lake, "event_feed")

    assert {file: file.read_bytes() for file in Path(lake.root).rglob("*") if file.is_file()} == before
    assert [(each.version, each.messages) for each in plan.recovered] == [(version if flattened >= version else None, 3)]
    assert repair(lake, "event_feed") == plan
    assert repair(lake, "event_feed") == Repair("event_feed")
    aside = Path(lake.uri_of("bronze", "event_feed"), SIDE_FOLDER)
    assert [file.read_bytes() for file in aside.iterdir()] == ([] if damaged is None else [damaged])
    for number in range(BATCHES):
        assert append_batch(lake, again(number), "again").new == 0
    flatten_new(lake)
    is_whole(lake)
    assert not any(each.changed for each in rebuild(lake, [START.date()], dry_run=True))


def test_a_batch_that_was_being_written_does_not_take_the_place_of_the_lost_one(tmp_path: Path) -> None:
    """The lights went out over the newest commit, which silver had read, and over the next one, of which there is a data file alone."""
    lake = filled(tmp_path, flattened=BATCHES - 1)
    last = entry(lake, BATCHES)
    last.unlink()  # as if it was never committed
    empty(entry(lake, BATCHES - 1))
    plan = repair(lake, "event_feed")
    assert [(each.batch_id, each.version) for each in plan.recovered] == [("batch-20", BATCHES - 1), ("batch-30", None)]
    flatten_new(lake)
    is_whole(lake)


def test_messages_that_came_again_before_the_repair_are_taken_once(tmp_path: Path) -> None:
    """Another table than this version would have it: an older one went on behind the empty commit, and two of its three messages came again."""
    lake = filled(tmp_path, flattened=1)
    lost = entry(lake, 2).read_bytes()
    empty(entry(lake, 2))
    handle = DeltaTable(lake.uri_of("bronze", "event_feed"))
    came = again(1).head(2)
    properties = CommitProperties(custom_metadata=ledger_of(came, "again").metadata())
    write_deltalake(handle, came.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append", commit_properties=properties)
    assert b"batch-10" in lost
    plan = repair(lake, "event_feed")
    assert [(each.batch_id, each.messages) for each in plan.recovered] == [("batch-10", 1)]
    flatten_new(lake)
    is_whole(lake)


@pytest.mark.parametrize("flattened", [BATCHES, 1])
@pytest.mark.parametrize("damage", [empty, torn, missing, foreign])
def test_silver_goes_on_behind_a_data_file_that_is_lost(tmp_path: Path, damage: Callable[[Path], None], flattened: int) -> None:
    """The feed of changes wants each file that a version added or removed: a repair that took the file out of the table stopped silver for good."""
    lake = filled(tmp_path, flattened=flattened)
    path = next(action["add"]["path"] for action in map(json.loads, entry(lake, 2).read_text().splitlines()) if "add" in action)
    damage(Path(lake.uri_of("bronze", "event_feed"), path))
    repair(lake, "event_feed")
    receive(lake, bodies(BATCHES), first=10 * BATCHES, received_at=received(BATCHES))
    flatten_new(lake)
    rows = rows_of(lake, "silver", "opens")["activity_id"]
    lost = [] if flattened == BATCHES else ["o1-0", "o1-1"]
    assert sorted(rows) == sorted([*(each for each in OPENS if each not in lost), "o4-0", "o4-1"])
    assert sorted(rows_of(lake, "bronze", "event_feed")["message_id"]) == sorted(
        [*(each for each in ALL if not each.startswith("m1") or len(each) < 3), "m40", "m41", "m42"]
    )


def test_a_data_file_of_the_right_size_that_is_none_is_found(tmp_path: Path) -> None:
    lake = filled(tmp_path, flattened=BATCHES)
    path = next(action["add"]["path"] for action in map(json.loads, entry(lake, 2).read_text().splitlines()) if "add" in action)
    file = Path(lake.uri_of("bronze", "event_feed"), path)
    file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(PermanentError, match=r"`mg-lakehouse repair bronze`"):
        balance_hours(lake, START, START + BATCHES * HOUR)
    with pytest.raises(PermanentError, match=r"`mg-lakehouse repair bronze`"):
        list(rebuild(lake, [START.date()]))
    assert [(each.file, each.state) for each in planned_repair(lake, "event_feed").unreadable] == [(path, "foreign")]
    repair(lake, "event_feed")
    assert append_batch(lake, again(1), "again").new == 3


def test_a_bronze_table_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    lake = filled(tmp_path, flattened=BATCHES)
    shutil.rmtree(lake.uri_of("bronze", "event_feed"))
    refused: list[Callable[[], object]] = [
        lambda: require_whole(lake, "event_feed"),
        lambda: planned_repair(lake, "event_feed"),
        lambda: list(rebuild(lake, [START.date()])),
    ]
    for each in refused:
        with pytest.raises(PermanentError, match=r"bronze/event_feed .* is gone, and silver has read it: restore "):
            each()
    found = balance_hours_of_sources(lake, START, START + BATCHES * HOUR)
    assert (found.balances, found.without_message) == (False, len(ALL))


@pytest.mark.parametrize("damage", [empty, torn, missing])
def test_a_data_file_that_cannot_be_read_is_named_and_what_it_held_is_owned_up_to(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    lake = filled(tmp_path, flattened=BATCHES)
    actions = [json.loads(line) for line in entry(lake, 2).read_text().splitlines()]
    path = next(action["add"]["path"] for action in actions if "add" in action)
    damage(Path(lake.uri_of("bronze", "event_feed"), path))
    with pytest.raises(PermanentError, match=rf"its file {path} is {damage.__name__}\."):
        flatten_new(lake)
    plan = planned_repair(lake, "event_feed")
    assert [(each.file, each.state) for each in plan.unreadable] == [(path, damage.__name__)]
    repair(lake, "event_feed")
    assert repair(lake, "event_feed") == Repair("event_feed")
    found = balance_hours_of_sources(lake, START, START + BATCHES * HOUR)
    assert not found.balances
    assert [hour.messages_missing for hour in found.hours] == [0, 3, 0, 0]
    assert found.without_message == 3
    with pytest.raises(PermanentError, match=r"has rows of \d messages that bronze lacks"):
        list(rebuild(lake, [START.date()]))
    assert append_batch(lake, again(1), "again").new == 3


def test_a_checkpoint_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    lake = filled(tmp_path, flattened=BATCHES)
    DeltaTable(lake.uri_of("bronze", "event_feed")).create_checkpoint()
    checkpoint = next(Path(lake.uri_of("bronze", "event_feed")).glob("_delta_log/*.checkpoint.parquet"))
    torn(checkpoint)
    with pytest.raises(PermanentError, match=rf"its file _delta_log/{checkpoint.name} is torn"):
        balance_hours(lake, START, START)
    repair(lake, "event_feed")
    is_whole(lake)


def test_a_checkpoint_that_was_made_over_a_hole_is_set_aside(tmp_path: Path) -> None:
    """delta-rs takes an empty entry for a commit of nothing: a checkpoint over it would keep the rows away for good."""
    lake = filled(tmp_path, flattened=BATCHES)
    empty(entry(lake, 2))
    DeltaTable(lake.uri_of("bronze", "event_feed")).create_checkpoint()
    repair(lake, "event_feed")
    is_whole(lake)


def test_a_hole_whose_log_was_cut_behind_it_is_filled_from_the_data_files(tmp_path: Path) -> None:
    """An older version went on for days over an empty commit: a checkpoint was made over it, and maintenance removed what stood before."""
    lake = filled(tmp_path, flattened=1)
    empty(entry(lake, 2))
    DeltaTable(lake.uri_of("bronze", "event_feed")).create_checkpoint()
    for version in (0, 1):
        entry(lake, version).unlink()
    with pytest.raises(PermanentError, match=rf"its file _delta_log/{2:020}.json is empty"):
        receive(lake, bodies(0))
    plan = repair(lake, "event_feed")
    assert [(each.batch_id, each.messages, each.version) for each in plan.recovered] == [("batch-10", 3, None)]
    assert repair(lake, "event_feed") == Repair("event_feed")
    flatten_new(lake)
    assert sorted(rows_of(lake, "bronze", "event_feed")["message_id"]) == ALL
    assert sorted(rows_of(lake, "silver", "opens")["activity_id"]) == OPENS
    assert not any(each.changed for each in rebuild(lake, [START.date()], dry_run=True))


@pytest.mark.parametrize("flattened", [BATCHES, 0])
@pytest.mark.parametrize("damage", ["the first entry", "all entries", "the folder"])
def test_a_log_without_its_first_entry_is_made_anew_under_the_name_that_silver_knows(tmp_path: Path, damage: str, flattened: int) -> None:
    """It says what the table is: without it delta-rs takes it for none, and the next batch would make another one, at its first version again."""
    lake = filled(tmp_path, flattened=flattened)
    log = entry(lake, 0).parent
    for file in [entry(lake, 0)] if damage == "the first entry" else list(log.iterdir()):
        file.unlink()
    if damage == "the folder":
        log.rmdir()
    with pytest.raises(PermanentError, match=r"its file _delta_log/0{20}.json is missing"):
        receive(lake, bodies(0))
    repair(lake, "event_feed")
    assert repair(lake, "event_feed") == Repair("event_feed")
    flatten_new(lake)
    is_whole(lake)


def test_entries_that_nothing_tells_of_are_not_guessed_at(tmp_path: Path) -> None:
    """A checkpoint that cannot be read was all that stood for the entries before it, which maintenance had removed."""
    lake = filled(tmp_path, flattened=BATCHES)
    DeltaTable(lake.uri_of("bronze", "event_feed")).create_checkpoint()
    receive(lake, bodies(0), first=100)
    for version in range(BATCHES + 1):
        entry(lake, version).unlink()
    torn(next(entry(lake, 0).parent.glob("*.checkpoint.parquet")))
    with pytest.raises(PermanentError, match=r"restore the folder .*_delta_log from a backup"):
        repair(lake, "event_feed")


def test_a_lake_that_is_whole_needs_no_repair(tmp_path: Path) -> None:
    assert planned_repair(Lake(str(tmp_path / "nothing")), "event_feed") == Repair("event_feed")
    lake = filled(tmp_path, flattened=BATCHES)
    assert repair(lake, "event_feed") == Repair("event_feed")
    is_whole(lake)


@pytest.mark.parametrize("step", range(12))
def test_a_repair_that_is_killed_anywhere_goes_on_where_it_was(tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies at its nth sync, of a file or a folder: each step of it ends with one."""
    lake = filled(tmp_path, flattened=BATCHES - 1)
    DeltaTable(lake.uri_of("bronze", "event_feed")).create_checkpoint()
    empty(entry(lake, BATCHES))
    empty(entry(lake, 2))
    left = step

    class Died(BaseException):
        pass

    def dying(file: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Died

    with monkeypatch.context() as patched:
        patched.setattr("mg_lakehouse.maintenance.repair.sync_file", dying)
        patched.setattr("mg_lakehouse.maintenance.repair.sync_folder", dying)
        with suppress(Died):  # it may have fewer steps
            repair(lake, "event_feed")
    repair(lake, "event_feed")
    flatten_new(lake)
    is_whole(lake)


def test_a_vacuum_leaves_what_was_set_aside(tmp_path: Path) -> None:
    lake = filled(tmp_path, flattened=BATCHES)
    torn(entry(lake, BATCHES))
    repair(lake, "event_feed")
    DeltaTable(lake.uri_of("bronze", "event_feed")).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert len(list(Path(lake.uri_of("bronze", "event_feed"), SIDE_FOLDER).iterdir())) == 1
    is_whole(lake)


def test_entries_that_maintenance_removed_since_a_process_looked_are_not_missed(tmp_path: Path) -> None:
    """A code server looks at a table again after a week, in which its log was cut."""
    other, lake = Lake(str(tmp_path / "other")), Lake(str(tmp_path / "lake"))
    receive(other, bodies(0), first=0)
    shutil.copytree(other.root, lake.root)
    assert lake.open("bronze", "event_feed") is not None
    for number in range(1, 60):
        receive(other, bodies(number), first=10 * number)
    for file in Path(other.uri_of("bronze", "event_feed"), "_delta_log").iterdir():
        os.utime(file, (0, 0))
    DeltaTable(other.uri_of("bronze", "event_feed")).cleanup_metadata()
    shutil.rmtree(lake.root)
    shutil.copytree(other.root, lake.root)
    assert not entry(lake, 3).exists()
    handle = lake.open("bronze", "event_feed")
    assert handle is not None
    assert handle.version() == 60
