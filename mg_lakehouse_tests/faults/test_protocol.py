"""The protocol as it is, and the same scenarios over the protocol broken on purpose: the suite must see each break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from deltalake import CommitProperties, write_deltalake

from mg_lakehouse.bronze import append as bronze
from mg_lakehouse.bronze import event_feed as drain
from mg_lakehouse.lake import commit
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver import commit as silver
from mg_lakehouse.silver.slices import Slice
from mg_lakehouse.sources.sqs import EventQueue
from mg_lakehouse.testing.sqs import SqsEmulator, VirtualClock
from mg_lakehouse_tests.faults.scenarios import SCENARIOS, silver_dies_between_two_tables


@pytest.fixture
def sqs() -> Iterator[SqsEmulator]:
    with SqsEmulator(clock=VirtualClock()) as emulator:
        yield emulator


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_protocol_holds_when(sqs: SqsEmulator, tmp_path: Path, scenario: str) -> None:
    SCENARIOS[scenario](Lake(str(tmp_path / "lake")), sqs)


@pytest.mark.parametrize("nth", range(1, 17))
def test_silver_resumes_after_a_death_between_any_two_tables(sqs: SqsEmulator, tmp_path: Path, nth: int) -> None:
    """The 15 good samples fill a table each, and `rejected_items` comes last: 16 commits."""
    lake = Lake(str(tmp_path / "lake"))
    silver_dies_between_two_tables(lake, sqs, nth=nth)
    silver = sorted(path.name for path in (tmp_path / "lake" / "silver").iterdir())
    assert len(silver) == 16


def append_by_address(handle: Any, append: Any) -> None:
    """A transaction is a compare-and-swap on the handle that was looked at only."""
    write_deltalake(
        handle.table_uri,
        append.rows.to_arrow(compat_level=pl.CompatLevel.oldest()),
        mode="append",
        commit_properties=CommitProperties(custom_metadata=dict(append.metadata), app_transactions=list(append.transactions)),
    )


def append_without(which: Callable[[str], bool]) -> Callable[[Any, Any], None]:
    """Leave some transactions out."""
    real = commit._append

    def broken(handle: Any, append: Any) -> None:
        left = tuple(transaction for transaction in append.transactions if not which(transaction.app_id))
        real(handle, commit.Append(append.rows, left, append.result, append.metadata))

    return broken


def decide_from_the_exception(what: str, open_table: Callable[[], Any], decide: Callable[[Any], Any]) -> Any:
    """An append that raised is taken not to have landed, and is made again without a look."""
    handle = open_table()
    decision = decide(handle)
    if isinstance(decision, commit.AlreadyCommitted):
        return decision.result
    for _ in range(3):
        try:
            reached(Failpoint.COMMIT_DECIDED, what)
            write_deltalake(open_table(), decision.rows.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append")
            reached(Failpoint.COMMIT_DONE, what)
        except OSError:
            continue
        return decision.result
    raise AssertionError


def delete_before_the_commit(self: Any) -> None:
    self._queue.delete([handles[-1] for handles in self._handles.values()])
    flush(self)


flush: Final = drain._Committer.flush
delete: Final = EventQueue.delete


def forget_what_failed(self: Any, handles: Any) -> list[str]:
    delete(self, handles)
    return []


def believe_in_the_plan(_: Any, __: int) -> bool:
    return False


BREAKS: Final[dict[str, tuple[Any, str, Any, str]]] = {
    "an address instead of the handle": (commit, "_append", append_by_address, "another_consumer_commits_in_between"),
    "no lane": (commit, "_append", append_without(lambda app: app == "lane"), "another_consumer_commits_in_between"),
    "no batch marker": (commit, "_append", append_without(lambda app: app.startswith("batch:")), "the_answer_of_a_commit_is_lost"),
    "the exception decides": (bronze, "commit_once", decide_from_the_exception, "the_answer_of_a_commit_is_lost"),
    "deletes before the commit": (drain._Committer, "flush", delete_before_the_commit, "the_process_dies_before_its_commit"),
    "Failed is ignored": (EventQueue, "delete", forget_what_failed, "a_delete_fails_in_part"),
    "silver by address": (commit, "_append", append_by_address, "another_run_flattens_in_between"),
    "silver without progress": (
        commit,
        "_append",
        append_without(lambda app: app.startswith("silver:")),
        "another_run_flattens_in_between",
    ),
    "silver's exception decides": (silver, "commit_once", decide_from_the_exception, "the_answer_of_a_silver_commit_is_lost"),
    "an overtaken run goes on": (
        Slice,
        "is_cut_by",
        believe_in_the_plan,
        "a_run_is_overtaken_in_the_middle_of_its_slice",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_suite_sees(sqs: SqsEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    owner, attribute, broken, scenario = BREAKS[name]
    monkeypatch.setattr(owner, attribute, broken)
    with pytest.raises(AssertionError):
        SCENARIOS[scenario](Lake(str(tmp_path / "lake")), sqs)
