"""Messages that make flattening fail for a reason that nobody foresaw: set aside, counted, and flattened when that is mended.

No known content does this, so the fault is put into the code: `flatten` raises on bodies that hold POISON, and the comparison with what a table has on ids that do.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.audit.hourly_balance import balance_hours
from mg_lakehouse.errors import PermanentError, TransientError
from mg_lakehouse.events.dedupe import Deduplicated, against_existing
from mg_lakehouse.events.flatten import Flattened, flatten
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver import commit as silver
from mg_lakehouse.silver import set_aside as setting_aside
from mg_lakehouse.silver.progress import unflattened
from mg_lakehouse.silver.rebuild import rebuild
from mg_lakehouse.silver.set_aside import count_set_aside, read_set_aside, set_aside_days
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.faults.scenarios import at
from mg_lakehouse_tests.lake.feeds import START, receive, rows_of


class Killed(BaseException):
    """The process is gone."""


def click(activity: str, **children: str) -> str:
    return item("ClickActivity", ActivityId=activity, **children)


def opened(activity: str) -> str:
    return item("OpenActivity", ActivityId=activity)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@contextmanager
def failing(error: Callable[[], BaseException] = lambda: OverflowError("of pat@example.com")) -> Iterator[None]:
    """Flattening a body that holds POISON fails."""

    def failing_flatten(messages: pl.DataFrame, **options: Any) -> Flattened:
        if messages["body"].str.contains("POISON").any():
            raise error()
        return flatten(messages, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setting_aside, "flatten", failing_flatten)
        yield


@contextmanager
def failing_tables() -> Iterator[None]:
    """Comparing rows whose id holds POISON with those of their table fails."""

    def failing_against(rows: pl.DataFrame, existing: pl.DataFrame) -> Deduplicated:
        if rows["activity_id"].str.contains("POISON").any():
            raise pl.exceptions.ComputeError("of pat@example.com")
        return against_existing(rows, existing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(silver, "against_existing", failing_against)
        yield


def ids(lake: Lake, table: str) -> list[str]:
    return sorted(rows_of(lake, "silver", table)["activity_id"])


def assert_balanced(lake: Lake) -> None:
    found = balance_hours(lake, START, START + timedelta(hours=1))
    assert found.balances, found


def test_the_rest_of_the_slice_goes_on(lake: Lake) -> None:
    receive(lake, [bundle(click("c1")), bundle(click("POISON"), opened("o9")), bundle(click("c2"), opened("o1"))])
    with failing():
        report = flatten_new(lake)
    assert (ids(lake, "clicks"), ids(lake, "opens")) == (["c1", "c2"], ["o1"])
    assert list(report.set_aside.values()) == [1]
    assert unflattened(lake) == 0
    row = read_set_aside(lake).row(0, named=True)
    assert (row["message_id"], row["silver_table"], row["source"], row["received_date"]) == ("m1", None, "event_feed", START.date())
    assert row["reason"].startswith("OverflowError in silver/set_aside.py, line ")
    assert conservation(lake, above=0).holds
    assert conservation(lake, above=0).set_aside == row["items"]
    assert_balanced(lake)


def test_what_the_message_says_is_nowhere_but_in_bronze(lake: Lake) -> None:
    receive(lake, [bundle(click("POISON", EmailAddress="pat@example.com"))])
    with failing():
        flatten_new(lake)
    log = "".join(file.read_text() for file in Path(lake.root, "silver").rglob("*.json"))
    assert "pat@example.com" not in log + str(read_set_aside(lake).to_dicts())


@pytest.mark.parametrize("error", [MemoryError, lambda: OSError(28, "No space left on device"), lambda: TransientError("throttled")])
def test_a_failure_of_the_machine_sets_nothing_aside(lake: Lake, error: Callable[[], BaseException]) -> None:
    receive(lake, [bundle(click("c1")), bundle(click("POISON"))])
    with failing(error), pytest.raises((MemoryError, OSError, TransientError)):
        flatten_new(lake)
    assert unflattened(lake) == 1
    assert flatten_new(lake).rows == 2
    assert count_set_aside(lake, lake.open("silver", "set_aside_messages")).messages == 0


def test_a_failure_that_does_not_come_again_sets_nothing_aside(lake: Lake) -> None:
    receive(lake, [bundle(click("c1")), bundle(click("POISON"))])
    failures = iter([True])
    with failing(lambda: OverflowError() if next(failures, False) else MemoryError()), pytest.raises(MemoryError):
        flatten_new(lake)
    assert count_set_aside(lake, lake.open("silver", "set_aside_messages")).messages == 0


def test_more_than_a_few_stop_the_run_and_nothing_of_the_slice_is_committed(lake: Lake) -> None:
    receive(lake, [bundle(click(f"POISON{number}")) for number in range(11)] + [bundle(click("c1"))])
    with failing(), pytest.raises(PermanentError, match=r"More than 10 messages of bronze/event_feed .*OverflowError.* upgrade"):
        flatten_new(lake)
    assert unflattened(lake) == 1
    assert flatten_new(lake).rows == 12


def test_a_few_in_each_of_many_slices_stop_the_run_too(lake: Lake) -> None:
    for number in range(6):
        receive(lake, [bundle(click(f"POISON{number}{half}")) for half in "ab"], first=2 * number)
    with failing(), pytest.raises(PermanentError, match="More than 10 messages"):
        flatten_new(lake, slice_bytes=1)
    assert count_set_aside(lake, lake.open("silver", "set_aside_messages")).messages == 12
    assert_balanced(lake)


def test_items_that_one_table_cannot_take_are_missing_in_that_table_only(lake: Lake) -> None:
    receive(lake, [bundle(click("c1")), bundle(click("POISON1"), click("POISON2"), opened("o1"))])
    with failing_tables():
        flatten_new(lake)
    assert (ids(lake, "clicks"), ids(lake, "opens")) == (["c1"], ["o1"])
    row = read_set_aside(lake).row(0, named=True)
    assert (row["message_id"], row["silver_table"], row["items"]) == ("m1", "clicks", 2)
    assert row["reason"].startswith("ComputeError in silver/commit.py, line ")
    assert conservation(lake, above=0).holds
    assert_balanced(lake)


@pytest.mark.parametrize("mended", [False, True])
@pytest.mark.parametrize("fault", [failing, failing_tables])
@pytest.mark.parametrize("place", ["silver/clicks", "silver/opens", "silver/set_aside_messages", "silver/rejected_items"])
def test_a_run_killed_at_any_commit_is_gone_on_with(lake: Lake, place: str, fault: Callable[[], Any], *, mended: bool) -> None:
    """Also by a release in which the fault is mended: a table that has the slice without the message keeps it so until it is retried."""

    def kill() -> None:
        raise Killed

    receive(lake, [bundle(click("c1"), opened("o1"), "<ClickActivity/>"), bundle(click("POISON"), opened("o2"))])
    with fault(), at(Failpoint.COMMIT_DONE, kill, about=place), pytest.raises(Killed):
        flatten_new(lake)
    if mended:
        flatten_new(lake)
    else:
        with fault():
            flatten_new(lake)
    assert unflattened(lake) == 0
    assert_balanced(lake)
    list(rebuild(lake, set_aside_days(lake)))
    assert (ids(lake, "clicks"), ids(lake, "opens")) == (["POISON", "c1"], ["o1", "o2"])
    assert count_set_aside(lake, lake.open("silver", "set_aside_messages")).messages == 0
    assert_balanced(lake)


def test_retried_they_are_rows_rejects_and_duplicates_and_the_books_balance(lake: Lake) -> None:
    first = bundle(click("c1"), click("c2", Url="http://one.example"))
    odd = bundle(
        click("POISON"),
        click("c1"),
        click("c2", Url="http://other.example"),
        "<OpenActivity><ActivityId>x</ActivityId></OpenActivity>",
        opened("o1"),
    )
    receive(lake, [first, odd, bundle(opened("o1"))])
    with failing():
        flatten_new(lake)
    dry = {made.table: (made.added, made.removed) for made in rebuild(lake, set_aside_days(lake), dry_run=True) if made.changed}
    made = {made.table: (made.added, made.removed) for made in rebuild(lake, set_aside_days(lake)) if made.changed}
    # The conflict and the item without a time are rejects; of `o1`, silver had the copy that was received later.
    assert dry == made == {"clicks": (1, 0), "rejected_items": (2, 0), "set_aside_messages": (0, 1)}
    assert (ids(lake, "clicks"), ids(lake, "opens")) == (["POISON", "c1", "c2"], ["o1"])
    hour = balance_hours(lake, START, START).hours[0]
    assert (hour.items, hour.rows, hour.rejected, hour.duplicates, hour.set_aside) == (8, 4, 2, 2, 0)
    assert hour.balances
    assert list(rebuild(lake, set_aside_days(lake))) == []


def test_what_fails_still_stays_set_aside(lake: Lake) -> None:
    receive(lake, [bundle(click("POISON")), bundle(click("c1"))])
    with failing():
        flatten_new(lake)
        assert [made.table for made in rebuild(lake, set_aside_days(lake)) if made.changed] == []
    assert count_set_aside(lake, lake.open("silver", "set_aside_messages")).messages == 1
    assert_balanced(lake)


@pytest.mark.parametrize("tables", [None, ["clicks"]])
def test_a_backfill_removes_no_rows_of_messages_that_fail_now(lake: Lake, tables: list[str] | None) -> None:
    """A release that cannot read what an older one read made the rows of it go, with status 0."""
    receive(lake, [bundle(click("POISON"), opened("o1")), bundle(click("c1"))])
    flatten_new(lake)
    with (
        failing(),
        pytest.raises(PermanentError, match=r"silver/(opens|clicks) .* has rows of 1 messages that this mg-lakehouse cannot flatten"),
    ):
        list(rebuild(lake, [START.date()], tables=tables))
    assert (ids(lake, "clicks"), ids(lake, "opens")) == (["POISON", "c1"], ["o1"])
    assert count_set_aside(lake, lake.open("silver", "set_aside_messages")).messages == 0
    assert_balanced(lake)


def test_a_backfill_of_one_table_leaves_them_set_aside(lake: Lake) -> None:
    receive(lake, [bundle(click("POISON"), opened("o1")), bundle(click("c1"))])
    with failing():
        flatten_new(lake)
    assert [made.changed for made in rebuild(lake, [START.date()], tables=["clicks"])] == [False]
    assert count_set_aside(lake, lake.open("silver", "set_aside_messages")).messages == 1
    assert_balanced(lake)


def test_a_damaged_table_of_them_is_made_anew_as_its_sentence_says(lake: Lake, tmp_path: Path) -> None:
    receive(lake, [bundle(click("POISON")), bundle(click("c1"))])
    with failing():
        flatten_new(lake)
    # This process has seen the lake whole; where it never looked, it looks.
    copy = Lake(str(shutil.copytree(lake.root, tmp_path / "copy")))
    entry = max(Path(copy.uri_of("silver", "set_aside_messages"), "_delta_log").glob("*.json"))
    entry.write_bytes(b"")
    with pytest.raises(PermanentError) as raised:
        count_set_aside(copy, copy.open("silver", "set_aside_messages"))
    folder = Path(copy.uri_of("silver", "set_aside_messages"))
    day = START.date()
    assert str(raised.value).endswith(
        f"remove the folder {folder}, and `mg-lakehouse backfill --from {day} --to {day}` rebuilds it from bronze."
    )
    shutil.rmtree(folder)
    with failing():
        list(rebuild(copy, [day]))
    assert count_set_aside(copy, copy.open("silver", "set_aside_messages")).messages == 1
    assert_balanced(copy)
    list(rebuild(copy, [day]))
    assert ids(copy, "clicks") == ["POISON", "c1"]
    assert_balanced(copy)
