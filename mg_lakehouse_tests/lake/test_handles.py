"""A handle that nobody holds is moved on: what it reads is the newest version, whatever happened to the table, and it costs a listing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import boto3
import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.lake.commit_log import commits_of
from mg_lakehouse.lake.lake import NO_HOOKS, Lake
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy, Request
from mg_lakehouse_tests.lake.feeds import bundles, receive

TABLE: Final = ("bronze", EVENT_FEED.name)


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    """A lake on this disk and in S3; ``lake.uri`` may be opened by another, who shares no handle with it."""
    if request.param == "disk":
        yield Lake(str(tmp_path / "lake"))
        return
    proxy: FaultProxy = request.getfixturevalue("s3_proxy")
    server: S3Server = request.getfixturevalue("s3_server")
    with set_environment(proxy.environment):
        os.environ.pop("AWS_PROFILE", None)
        yield Lake(f"{server.make_bucket('handles')}/{tmp_path.name.replace('[', '-').replace(']', '')}")


def receive_one(lake: Lake, number: int) -> None:
    """Another's commit of one message."""
    receive(Lake(lake.uri), bundles(1), first=number)


def messages(lake: Lake) -> set[str]:
    """The ids in the table as the lake opens it now."""
    handle = lake.open(*TABLE)
    assert handle is not None
    return ids(handle)


def ids(handle: DeltaTable) -> set[str]:
    return set(pl.DataFrame(handle.to_pyarrow_table(columns=["message_id"]))["message_id"])


def test_what_others_committed_is_there(lake: Lake) -> None:
    for number in range(4):
        receive_one(lake, number)
        assert messages(lake) == {f"m{each}" for each in range(number + 1)}


def test_a_handle_that_is_held_stays_as_it_was(lake: Lake) -> None:
    receive_one(lake, 0)
    held = lake.open(*TABLE)
    assert held is not None
    receive_one(lake, 1)
    assert messages(lake) == {"m0", "m1"}
    receive_one(lake, 2)
    assert messages(lake) == {"m0", "m1", "m2"}
    assert (held.version(), ids(held)) == (1, {"m0"})


def test_one_that_was_set_back_is_at_the_newest_version_again(lake: Lake) -> None:
    for number in range(3):
        receive_one(lake, number)
    back = lake.open(*TABLE)
    assert back is not None
    back.load_as_version(1)
    assert ids(back) == {"m0"}
    del back
    assert messages(lake) == {"m0", "m1", "m2"}


def test_what_was_committed_through_a_handle_is_there(lake: Lake) -> None:
    for number in range(3):
        receive(lake, bundles(1), first=number)
    assert messages(lake) == messages(Lake(lake.uri)) == {"m0", "m1", "m2"}


def test_a_commit_is_compared_with_the_version_that_was_opened(lake: Lake) -> None:
    """Both have read transaction 1, one of them through a handle that was moved on."""
    receive_one(lake, 0)
    messages(lake)
    receive_one(lake, 1)
    mine, other = lake.open(*TABLE), Lake(lake.uri).open(*TABLE)
    assert mine is not None
    assert other is not None
    for handle in (mine, other):
        assert handle.transaction_version("test") is None
    rows = mine.to_pyarrow_table()

    def commit(handle: DeltaTable) -> None:
        write_deltalake(
            handle,
            rows,
            mode="append",
            commit_properties=CommitProperties(app_transactions=[Transaction("test", 1)]),
            post_commithook_properties=NO_HOOKS,
        )

    commit(other)
    with pytest.raises(CommitFailedError):
        commit(mine)
    del mine, handle
    again = lake.open(*TABLE)
    assert again is not None
    assert again.transaction_version("test") == 1


@pytest.mark.parametrize("commits", [1, 5], ids=["fewer", "more"])
def test_a_table_that_was_removed_and_made_anew_is_the_new_one(lake: Lake, commits: int) -> None:
    for number in range(3):
        receive_one(lake, number)
    messages(lake)
    messages(lake)
    remove(lake)
    assert lake.open(*TABLE) is None
    for number in range(commits):
        receive_one(lake, 100 + number)
    assert messages(lake) == {f"m{100 + each}" for each in range(commits)}


def test_a_table_that_was_replaced_between_two_looks_is_the_new_one(lake: Lake) -> None:
    for number in range(3):
        receive_one(lake, number)
    messages(lake)
    messages(lake)
    remove(lake)
    for number in range(5):
        receive_one(lake, 100 + number)
    assert messages(lake) == {f"m{100 + each}" for each in range(5)}


def test_maintenance_of_another_takes_nothing_away(lake: Lake) -> None:
    """Checkpoints, files that are rewritten and vacuumed, entries that are cleaned up."""
    for number in range(3):
        receive_one(lake, number)
    messages(lake)
    other = Lake(lake.uri).open(*TABLE)
    assert other is not None
    other.optimize.compact(post_commithook_properties=NO_HOOKS)
    other.create_checkpoint()
    other.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert messages(lake) == {"m0", "m1", "m2"}
    receive_one(lake, 3)
    other = Lake(lake.uri).open(*TABLE)
    assert other is not None
    other.create_checkpoint()
    for name in sorted(log(lake))[:4]:
        erase(lake, name)
    assert messages(lake) == {"m0", "m1", "m2", "m3"}
    receive_one(lake, 4)
    assert messages(lake) == {"m0", "m1", "m2", "m3", "m4"}


def test_threads_that_commit_with_one_lake_lose_nothing_and_double_nothing(lake: Lake) -> None:
    lake.ensure(EVENT_FEED)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: receive(lake, bundles(1), first=number), range(12)))
    handle = lake.open(*TABLE)
    assert handle is not None
    found = pl.DataFrame(handle.to_pyarrow_table(columns=["message_id"]))["message_id"].to_list()
    assert sorted(found) == sorted(f"m{number}" for number in range(12))


def test_commits_are_those_of_the_log_whatever_was_read_before(lake: Lake) -> None:
    """Read in part, then all, then beside another's commit, through handles of several versions."""
    for number in range(12):
        receive_one(lake, number)
        handle = lake.open(*TABLE)
        assert handle is not None
        if number % 3 == 0:
            next(commits_of(handle))
    held = lake.open(*TABLE)
    receive_one(lake, 12)
    newest = lake.open(*TABLE)
    assert held is not None
    assert newest is not None
    for handle in (newest, held, newest):
        # As delta-rs tells them, where nobody commits in between.
        assert list(commits_of(handle)) == [commit for commit in anew(lake).history() if commit["version"] <= handle.version()]
        assert [commit["version"] for commit in commits_of(handle)] == list(range(handle.version(), -1, -1))


def test_an_entry_that_does_not_say_who_wrote_it_is_no_commit(tmp_path: Path) -> None:
    """By the protocol it need not: delta-rs's history passes over it too. The others keep their numbers."""
    lake = Lake(str(tmp_path / "lake"))
    for number in range(3):
        receive_one(lake, number)
    entry = Path(lake.uri_of(*TABLE), "_delta_log", f"{2:020}.json")
    entry.write_bytes(b"\n".join(line for line in entry.read_bytes().splitlines() if b'"commitInfo"' not in line))
    handle = anew(lake)
    assert [commit["version"] for commit in commits_of(handle)] == [3, 1, 0]
    assert len(handle.history()) == 3


def test_a_torn_entry_of_the_past_is_a_damaged_file(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    for number in range(3):
        receive_one(lake, number)
    entry = Path(lake.uri_of(*TABLE), "_delta_log", f"{2:020}.json")
    handle = anew(lake)
    entry.write_bytes(next(line for line in entry.read_bytes().splitlines() if b'"commitInfo"' in line)[:60])
    with pytest.raises(
        PermanentError, match=r"bronze/event_feed in the lake .* has a damaged file \(Invalid JSON in the log entry of version 2"
    ):
        list(commits_of(handle))


@pytest.mark.s3
class TestRequests:
    """What a look costs."""

    @pytest.fixture
    def lake(self, s3_server: S3Server, s3_proxy: FaultProxy, tmp_path: Path) -> Iterator[Lake]:
        with set_environment(s3_proxy.environment):
            os.environ.pop("AWS_PROFILE", None)
            yield Lake(f"{s3_server.make_bucket('requests')}/{tmp_path.name}")

    @pytest.fixture
    def asked(self, s3_proxy: FaultProxy) -> Callable[[Callable[[], object]], list[str]]:
        """The kinds of requests that something makes, in order."""

        def of(do: Callable[[], object]) -> list[str]:
            s3_proxy.seen()
            do()
            return [kind(request) for request in s3_proxy.seen()]

        return of

    def test_a_table_that_nobody_changed_costs_one_listing(self, lake: Lake, asked: Callable[[Callable[[], object]], list[str]]) -> None:
        for number in range(30):
            receive_one(lake, number)
        lake.open(*TABLE)
        assert asked(lambda: lake.open(*TABLE)) == ["LIST"]

    def test_a_commit_of_another_is_read_and_nothing_before_it(
        self, lake: Lake, asked: Callable[[Callable[[], object]], list[str]]
    ) -> None:
        for number in range(10):
            receive_one(lake, number)
        lake.open(*TABLE)
        receive_one(lake, 10)
        newest = f"{11:020}.json"
        # One listing tells that there is one, the other is delta-rs's, which reads a new commit twice.
        assert sorted(asked(lambda: lake.open(*TABLE))) == [f"GET {newest}", f"GET {newest}", "LIST", "LIST"]

    def test_commits_that_are_known_are_not_read_again(self, lake: Lake, asked: Callable[[Callable[[], object]], list[str]]) -> None:
        for number in range(10):
            receive_one(lake, number)
        handle = lake.open(*TABLE)
        assert handle is not None
        assert len(list(commits_of(handle))) == 11
        assert asked(lambda: list(commits_of(handle))) == []

    def test_the_newest_commit_is_one_request(self, lake: Lake, asked: Callable[[Callable[[], object]], list[str]]) -> None:
        for number in range(10):
            receive_one(lake, number)
        handle = lake.open(*TABLE)
        assert handle is not None
        assert asked(lambda: next(commits_of(handle))) == [f"GET {10:020}.json"]

    def test_credentials_that_changed_are_those_that_are_used(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        """The server refuses a token that it did not give."""
        receive_one(lake, 0)
        for _ in range(2):
            assert messages(lake) == {"m0"}
            with monkeypatch.context() as changed:
                changed.setenv("AWS_SESSION_TOKEN", "another")
                with pytest.raises(PermanentError, match="access was refused"):
                    messages(lake)


def kind(request: Request) -> str:
    name = request.path.rsplit("/", 1)[-1]
    return "LIST" if "list-type" in request.query else f"{request.method} {name}"


def anew(lake: Lake) -> DeltaTable:
    return DeltaTable(lake.uri_of(*TABLE), storage_options=lake.storage_options())


def remove(lake: Lake) -> None:
    for name in files(lake):
        erase(lake, name)
    if lake.is_local:
        shutil.rmtree(lake.uri_of(*TABLE))


def log(lake: Lake) -> list[str]:
    """The entries of the table's log."""
    return [name for name in files(lake) if "/_delta_log/" in name and name.endswith(".json")]


def files(lake: Lake) -> list[str]:
    """All files of the table: paths, or keys."""
    if lake.is_local:
        return [str(path) for path in Path(lake.uri_of(*TABLE)).rglob("*") if path.is_file()]
    folder = lake.uri_of(*TABLE).removeprefix("s3://handles/")
    return [each["Key"] for each in boto3.client("s3").list_objects_v2(Bucket="handles", Prefix=folder).get("Contents", [])]


def erase(lake: Lake, name: str) -> None:
    if lake.is_local:
        Path(name).unlink()
    else:
        boto3.client("s3").delete_object(Bucket="handles", Key=name)
