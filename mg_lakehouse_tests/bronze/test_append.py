"""Bronze holds a message at most once, whoever commits it and however often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from weakref import WeakSet

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from mg_lakehouse.bronze.append import BatchReceipt, append_batch, in_batches
from mg_lakehouse.errors import PermanentError, TransientError
from mg_lakehouse.lake import commit
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.faults.scenarios import at
from mg_lakehouse_tests.lake.feeds import START, batch, rows_of

ONE = {"m1": "<ActivityItems/>", "m2": "<ActivityItems/>"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_a_batch_becomes_one_commit_partitioned_by_day(lake: Lake) -> None:
    receipt = append_batch(lake, batch(ONE, batch_id="a"), "a")
    assert (receipt, receipt.new) == (BatchReceipt({"m1", "m2"}, already=0), 2)
    handle = lake.open("bronze", "event_feed")
    assert handle is not None
    assert handle.version() == 1
    assert handle.metadata().partition_columns == ["received_date"]
    assert handle.metadata().configuration["delta.appendOnly"] == "true"
    assert sorted(rows_of(lake, "bronze", "event_feed")["message_id"]) == ["m1", "m2"]


def test_the_same_batch_again_adds_nothing_and_reports_the_same(lake: Lake) -> None:
    """A process that lost the answer to its commit tries again with the same batch id."""
    first = append_batch(lake, batch(ONE, batch_id="a"), "a")
    assert append_batch(lake, batch(ONE, batch_id="a"), "a") == first
    assert rows_of(lake, "bronze", "event_feed").height == 2


def test_a_redelivery_in_another_batch_is_absorbed(lake: Lake) -> None:
    append_batch(lake, batch(ONE, batch_id="a"), "a")
    again = batch({"m2": "<ActivityItems/>", "m3": "<ActivityItems/>"}, batch_id="b", received_at=START + timedelta(hours=30))
    assert append_batch(lake, again, "b") == BatchReceipt({"m3"}, already=1)
    assert append_batch(lake, batch({"m1": "x"}, batch_id="c"), "c") == BatchReceipt(set(), already=1)
    assert sorted(rows_of(lake, "bronze", "event_feed")["message_id"]) == ["m1", "m2", "m3"]


def test_committers_that_race_with_the_same_messages_add_each_once(lake: Lake) -> None:
    """Without the lane, both look, both see nothing, and both append."""
    receipts: list[BatchReceipt] = []
    ready = threading.Barrier(4)

    def commit_own(number: int) -> None:
        mine = batch({f"m{index}": "<ActivityItems/>" for index in range(number, number + 20)}, batch_id=f"b{number}")
        ready.wait()
        receipts.append(append_batch(lake, mine, f"b{number}"))

    threads = [threading.Thread(target=commit_own, args=(number,)) for number in (0, 5, 10, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = rows_of(lake, "bronze", "event_feed")["message_id"]
    assert sorted(ids) == sorted({f"m{index}" for index in range(35)})
    assert (len(receipts), sum(receipt.new for receipt in receipts)) == (4, 35)


def test_an_answer_lost_after_the_commit_landed_does_not_commit_twice(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """delta-rs raises although the log entry is there: the exception must not be believed."""
    real: Any = write_deltalake
    calls: list[int] = []

    def lose_the_answer(*arguments: object, **options: object) -> None:
        calls.append(1)
        real(*arguments, **options)
        if len(calls) == 1:
            raise OSError("connection reset by peer")

    monkeypatch.setattr(commit, "write_deltalake", lose_the_answer)
    assert append_batch(lake, batch(ONE, batch_id="a"), "a") == BatchReceipt({"m1", "m2"}, already=0)
    assert rows_of(lake, "bronze", "event_feed").height == 2
    assert len(calls) == 1


def test_a_failure_that_stays_is_reported_in_a_sentence(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("503 slow down")

    monkeypatch.setattr(commit, "write_deltalake", fail)
    monkeypatch.setattr(commit, "_FIRST_WAIT_SECONDS", 0.0001)
    with pytest.raises(TransientError, match="bronze/event_feed in the lake"):
        append_batch(lake, batch(ONE, batch_id="a"), "a")
    assert rows_of(lake, "bronze", "event_feed").is_empty()


def test_a_lake_of_a_newer_contract_is_refused(lake: Lake) -> None:
    append_batch(lake, batch(ONE, batch_id="a"), "a")
    handle = DeltaTable(lake.uri_of("bronze", "event_feed"))
    handle.alter.set_table_properties({"mg_lakehouse.contractVersion": "2"}, raise_if_not_exists=False)
    with pytest.raises(PermanentError, match="contract version 2, and this mg-lakehouse knows 1: upgrade mg-lakehouse"):
        append_batch(lake, batch({"m9": "x"}, batch_id="b"), "b")


def test_a_lake_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    lake = Lake(str(tmp_path / "file" / "lake"))
    with pytest.raises(PermanentError, match=r"cannot be written or read: access was refused\. Check MG_LAKE_URI"):
        append_batch(lake, batch(ONE, batch_id="a"), "a")


def test_no_body_reaches_the_statistics_of_the_log(lake: Lake) -> None:
    append_batch(lake, batch({"m1": "SECRET-BODY"}, batch_id="a"), "a")
    log = "".join(path.read_text() for path in Path(lake.root).rglob("_delta_log/*.json"))
    assert "m1" in log
    assert "SECRET-BODY" not in log


def test_of_a_file_one_batch_of_bundles_is_in_memory() -> None:
    @dataclass(eq=False)
    class Bundle:
        body: str

    alive: WeakSet[Bundle] = WeakSet()
    most = 0

    def cut() -> Iterator[Bundle]:
        nonlocal most
        for number in range(40):
            bundle = Bundle(f"{number:02}")
            alive.add(bundle)
            most = max(most, len(alive))
            yield bundle

    sizes = [len(batch) for batch in in_batches(cut(), Settings(batch_messages=15))]
    assert sizes == [15, 15, 10]
    assert most == 15
    assert [len(batch) for batch in in_batches(iter([Bundle("xx")] * 5), Settings(batch_bytes=4))] == [2, 2, 1]


def test_a_checkpoint_keeps_the_table_quick_to_open(lake: Lake) -> None:
    for number in range(50):
        append_batch(lake, batch({f"m{number}": "x"}, batch_id=f"b{number}"), f"b{number}")
    assert list(Path(lake.root).rglob("*.checkpoint.parquet"))
    assert rows_of(lake, "bronze", "event_feed").select(pl.col("message_id").n_unique()).item() == 50


def test_a_checkpoint_that_cannot_be_written_costs_nothing(lake: Lake) -> None:
    """The commit landed; a failure of what comes after it is no reason to commit again."""
    for number in range(49):
        append_batch(lake, batch({f"m{number}": "x"}, batch_id=f"b{number}"), f"b{number}")
    Path(lake.uri_of("bronze", "event_feed"), "_delta_log", f"{50:020}.checkpoint.parquet").mkdir()
    assert append_batch(lake, batch({"m49": "x"}, batch_id="b49"), "b49") == ({"m49"}, 0)
    assert append_batch(lake, batch({"m50": "x"}, batch_id="b50"), "b50") == ({"m50"}, 0)
    assert rows_of(lake, "bronze", "event_feed").height == 51
    assert not list(Path(lake.root).rglob("_last_checkpoint"))


def test_a_commit_in_between_makes_the_other_look_again(lake: Lake) -> None:
    """Two consumers hold the same message: both looked, and neither saw it in the table."""
    receipts: list[BatchReceipt] = []

    def other() -> None:
        receipts.append(append_batch(lake, batch({"m1": "<ActivityItems/>", "m2": "<ActivityItems/>"}, batch_id="other"), "other"))

    with at(Failpoint.COMMIT_DECIDED, other):
        receipts.append(append_batch(lake, batch({"m1": "<ActivityItems/>"}, batch_id="own"), "own"))
    assert [(receipt.new, receipt.already) for receipt in receipts] == [(2, 0), (0, 1)]
    assert sorted(rows_of(lake, "bronze", "event_feed")["message_id"]) == ["m1", "m2"]
