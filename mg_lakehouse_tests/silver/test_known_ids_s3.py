"""The known ids of a table on S3: what a run asks for, and what it keeps on this machine."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.lake.file_stats import all_files
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver import id_entries, id_files
from mg_lakehouse.silver.id_files import FOLDER
from mg_lakehouse.silver.report import SilverReport, TableCount
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy, Request
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.lake.feeds import receive

pytestmark = pytest.mark.s3

OLD = [f"old{number}" for number in range(300)]


@pytest.fixture
def lake(
    s3_server: S3Server, s3_proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Lake]:
    """A lake with the opens of a day."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with set_environment(s3_proxy.environment):
        os.environ.pop("AWS_PROFILE", None)
        lake = Lake(s3_server.make_bucket(f"ids-{abs(hash(request.node.name)) % 10**8}"))
        flattened(lake, *OLD)
        yield lake


def flattened(lake: Lake, *names: str, first: int = 0) -> SilverReport:
    """Flatten a message of some opens, as a process of its own would."""
    id_files._held.clear()
    receive(lake, [bundle(*(item("OpenActivity", ActivityId=name) for name in names))], first=first)
    return flatten_new(Lake(lake.uri))


def of_known_ids(requests: list[Request]) -> Counter[str]:
    """Requests for known ids, by kind."""
    return Counter(
        "LIST" if "list-type" in each.query else each.method
        for each in requests
        if FOLDER in each.path or FOLDER in each.query or each.method == "POST"
    )


def ids_cached(tmp_path: Path) -> list[Path]:
    return [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_a_run_of_one_event_asks_for_what_is_known_a_few_times(lake: Lake, s3_proxy: FaultProxy, tmp_path: Path) -> None:
    """A listing, the file, the file that takes it in; from the second run on the one before that is removed."""
    s3_proxy.seen()
    assert flattened(lake, "new", first=1).tables["opens"] == TableCount(rows=1)
    assert of_known_ids(s3_proxy.seen()) == {"LIST": 1, "GET": 1, "PUT": 1}
    assert flattened(lake, "old7", first=2).tables["opens"] == TableCount(rows=0, duplicates=1)
    assert of_known_ids(s3_proxy.seen()) == {"LIST": 1, "GET": 1, "PUT": 1, "POST": 1}
    assert ids_cached(tmp_path) == []


def test_a_process_that_goes_on_reads_no_file_again(lake: Lake, s3_proxy: FaultProxy) -> None:
    going_on = Lake(lake.uri)
    receive(going_on, [bundle(item("OpenActivity", ActivityId="one"))], first=1)
    flatten_new(going_on)
    s3_proxy.seen()
    receive(going_on, [bundle(item("OpenActivity", ActivityId="two"))], first=2)
    flatten_new(going_on)
    assert of_known_ids(s3_proxy.seen()) == {"LIST": 1, "PUT": 1, "POST": 1}


def test_of_a_large_file_a_few_ids_are_looked_for_in_ranges_and_many_after_one_download(
    lake: Lake, s3_proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_files, "_HELD_BYTES", 800)
    monkeypatch.setattr(id_entries, "_SMALL", 0)
    monkeypatch.setattr(id_files, "_FEW_IDS", 2)
    flattened(lake, "one", first=1)
    s3_proxy.seen()
    assert flattened(lake, "old3", "new", first=2).tables["opens"] == TableCount(rows=1, duplicates=1)
    few = of_known_ids(s3_proxy.seen())
    assert few["LIST"] == 1
    assert ids_cached(tmp_path) == []
    assert flattened(lake, *OLD[:9], first=3).tables["opens"] == TableCount(rows=0, duplicates=9)
    assert len(ids_cached(tmp_path)) == 1
    s3_proxy.seen()
    assert flattened(lake, *OLD[:9], "other", first=4).tables["opens"] == TableCount(rows=1, duplicates=9)
    again = of_known_ids(s3_proxy.seen())
    assert again["GET"] < few["GET"] + 1
    handle = lake.open("silver", "opens")
    assert handle is not None
    ids = lake.scan(all_files(handle), handle).select("activity_id").collect()["activity_id"]
    assert sorted(ids) == sorted([*OLD, "one", "new", "other"])


def test_what_a_machine_keeps_of_a_file_that_is_gone_goes(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_files, "_HELD_BYTES", 800)
    for number in range(1, 7):
        flattened(lake, *(f"n{number}.{each}" for each in range(200)), first=number)
    assert len(ids_cached(tmp_path)) <= 3  # the newest, the one that it took in, and the one before, which was there when the run began
