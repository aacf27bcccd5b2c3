"""Files under real SIGKILL: loaded, fetched and days made anew, killed in the middle and done again, leave what an uninterrupted run leaves."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from mg_lakehouse.audit.hourly_balance import balance_hours_of_sources
from mg_lakehouse.bronze.account_activity import FileKey, files_in_bronze
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.update import flatten_new, flatten_sources
from mg_lakehouse.testing.web_service import ActivityApi
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.faults.consumer import KILLED, Crash, start_file_work
from mg_lakehouse_tests.lake.feeds import START, receive, rows_of

pytestmark = pytest.mark.slow

DAY = date(2026, 3, 1)


def opened(number: int) -> str:
    return item("OpenActivity", ActivityId=f"o{number}", Timestamp="2026-03-01T12:00:00Z")


def killed_and_done_again(lake: Lake, work: str, given: str, crash: Crash, environment: dict[str, str] | None = None) -> None:
    killed = start_file_work(lake, work, given, environment or {}, crash)
    killed.join(60)
    assert killed.exitcode == KILLED
    again = start_file_work(lake, work, given, environment or {})
    again.join(60)
    assert again.exitcode == 0


@pytest.mark.parametrize(
    "crash", [Crash(Failpoint.FILE_PART_COMMITTED, 2), Crash(Failpoint.COMMIT_DECIDED, 2), Crash(Failpoint.COMMIT_DONE, 1)], ids=str
)
def test_a_file_whose_loading_is_killed_and_done_again_is_there_once(tmp_path: Path, crash: Crash) -> None:
    lake = Lake(str(tmp_path / "lake"))
    file = tmp_path / "feed.xml"
    file.write_text(bundle(*(opened(number) for number in range(1_600))))
    killed_and_done_again(lake, "load", str(file), crash)
    bronze = rows_of(lake, "bronze", "loaded_files")
    assert sorted(bronze["part"]) == [0, 1, 2, 3]
    assert sum(body.count("<OpenActivity>") for body in bronze["body"]) == 1_600
    flatten_sources(lake)
    assert sorted(rows_of(lake, "silver", "opens")["activity_id"]) == sorted(f"o{number}" for number in range(1_600))
    first, last = bronze.select(first=pl.col("received_at").min(), last=pl.col("received_at").max()).row(0)
    assert balance_hours_of_sources(lake, first, last).balances


@pytest.mark.parametrize(
    "crash", [Crash(Failpoint.COMMIT_DECIDED, 2), Crash(Failpoint.COMMIT_DONE, 1), Crash(Failpoint.FILE_PART_COMMITTED, 2)], ids=str
)
def test_small_files_whose_loading_is_killed_and_done_again_are_there_once(tmp_path: Path, crash: Crash) -> None:
    """Three bundles to a commit: it is killed with files in one commit, over two, and in none yet. Every bundle stands in two files, far from each other."""
    lake = Lake(str(tmp_path / "lake"))
    # Each fills a bundle, so that a file of two has two.
    large = [item("OpenActivity", ActivityId=f"o{number}", Timestamp="2026-03-01T12:00:00Z", Url="x" * 2**18) for number in range(10)]
    files = [tmp_path / f"{number:02}.xml" for number in range(10)]
    for number, file in enumerate(files):
        file.write_text(bundle(large[2 * number % 10], large[(2 * number + 1) % 10]))
    killed_and_done_again(lake, "load", " ".join(map(str, files)), crash, {"MG_BATCH_MESSAGES": "3"})
    bronze = rows_of(lake, "bronze", "loaded_files").sort("file_name", "part")
    assert bronze.select("file_name", "part").rows() == [(f"{number:02}.xml", part) for number in range(5) for part in (0, 1)]
    assert [body.count(item) for body, item in zip(bronze["body"], large, strict=True)] == [1] * 10
    assert flatten_new(lake, source="loaded_files").rows == 10


@pytest.mark.parametrize("crash", [Crash(Failpoint.FILE_PART_COMMITTED, 1), Crash(Failpoint.COMMIT_DONE, 2)], ids=str)
def test_a_daily_file_whose_landing_is_killed_and_done_again_is_there_once(tmp_path: Path, crash: Crash) -> None:
    lake = Lake(str(tmp_path / "lake"))
    with ActivityApi({FileKey(DAY, "OPENS"): [opened(number) for number in range(1_200)]}, today=lambda: date(2026, 3, 20)) as api:
        killed_and_done_again(lake, "fetch", f"{DAY} OPENS", crash, api.environment)
    assert list(files_in_bronze(lake, [DAY])) == [FileKey(DAY, "OPENS")]
    bronze = rows_of(lake, "bronze", "account_activity")
    assert sorted(bronze["part"]) == [0, 1, 2]
    assert flatten_new(lake, source="account_activity").rows == 1_200


@pytest.mark.parametrize(
    "crash", [Crash(Failpoint.COMMIT_DECIDED, 1), Crash(Failpoint.COMMIT_DONE, 1), Crash(Failpoint.COMMIT_DONE, 2)], ids=str
)
def test_a_day_whose_making_anew_is_killed_and_done_again_is_right(tmp_path: Path, crash: Crash) -> None:
    lake = Lake(str(tmp_path / "lake"))
    clicks = [item("ClickActivity", ActivityId=f"c{number}") for number in range(50)]
    receive(lake, [bundle(*(opened(number) for number in range(50))), bundle(*clicks)])
    flatten_new(lake)
    right = {table: rows_of(lake, "silver", table).sort("activity_id") for table in ("opens", "clicks")}
    for table in right:  # an older version of the software made half of the rows wrong, and lost one
        handle = DeltaTable(f"{lake.root}/silver/{table}")
        handle.update({"request_id": "'wrong'"}, predicate="activity_id like '%1%'")
        handle.delete("activity_id in ('o7', 'c7')")
    killed_and_done_again(lake, "rederive", START.date().isoformat(), crash)
    for table, rows in right.items():
        assert rows_of(lake, "silver", table).sort("activity_id").equals(rows)
