"""The app transactions that a table has: what delta-rs says of them, without reading the log at each look."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from mg_lakehouse.lake.commit_log import app_version
from mg_lakehouse.lake.lake import NO_HOOKS, Lake
from mg_lakehouse_tests.lake.feeds import bundles, receive

APPS: Final = ("one", "two", "rare", "never")


def commit(handle: DeltaTable, *transactions: tuple[str, int]) -> None:
    write_deltalake(
        handle,
        pl.DataFrame({"message_id": ["x"]}).to_arrow(),
        mode="append",
        schema_mode="merge",
        commit_properties=CommitProperties(app_transactions=[Transaction(app, version) for app, version in transactions]),
        post_commithook_properties=NO_HOOKS,
    )


def opened(lake: Lake) -> DeltaTable:
    handle = lake.open("bronze", "event_feed")
    assert handle is not None
    return handle


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    write_deltalake(lake.uri_of("bronze", "event_feed"), pl.DataFrame({"message_id": ["first"]}).to_arrow())
    return lake


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_delta_rs_says_whatever_was_looked_for_before(lake: Lake, seed: int) -> None:
    chance, versions = random.Random(seed), dict.fromkeys(APPS, 0)
    held: list[DeltaTable] = []
    for number in range(40):
        chosen = [app for app, share in (("one", 0.5), ("two", 0.2), ("rare", 0.03)) if chance.random() < share]
        for app in chosen:
            versions[app] += chance.randint(1, 3)
        # By another, who shares nothing with this lake.
        commit(opened(Lake(lake.uri)), *((app, versions[app]) for app in chosen))
        if number in {13, 27}:
            DeltaTable(lake.uri_of("bronze", "event_feed")).create_checkpoint()
        if number == 30:
            DeltaTable(lake.uri_of("bronze", "event_feed")).cleanup_metadata()
        handle = opened(lake)
        if chance.random() < 0.2:
            held.append(handle)
        if chance.random() < 0.1:
            handle.load_as_version(max(handle.version() - chance.randint(1, 12), 28 if number >= 30 else 0))
        for each in (handle, *held):
            for app in chance.sample(APPS, 2):
                assert app_version(each, app) == DeltaTable(each.table_uri, version=each.version()).transaction_version(app), (number, app)


def test_a_commit_is_compared_with_what_came_since_though_delta_rs_was_not_asked(lake: Lake) -> None:
    """Else two would both go on from the same version of a fencing counter."""
    commit(opened(lake), ("lane", 1))
    mine, other = opened(lake), opened(Lake(lake.uri))
    assert app_version(mine, "lane") == app_version(other, "lane") == 1
    commit(other, ("lane", 2))
    with pytest.raises(CommitFailedError):
        commit(mine, ("lane", 2))
    assert app_version(mine, "lane") == 1
    assert app_version(opened(lake), "lane") == 2


def test_the_counter_of_a_lake_that_receives_is_that_of_delta_rs(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "other"))
    for number in range(12):
        receive(lake, bundles(1), first=number)
    handle = opened(lake)
    assert app_version(handle, "lane") == handle.transaction_version("lane") == 12
