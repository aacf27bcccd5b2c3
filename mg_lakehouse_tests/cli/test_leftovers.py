"""What a killed command leaves, the next one removes; and what only reports changes nothing, byte for byte."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mg_lakehouse._util.temp_folders import temp_folder
from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.gold.pii_key import pii_key
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.rows_out import draft
from mg_lakehouse.maintenance import compaction
from mg_lakehouse.serving.views import write_catalog
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.rebuild import rebuild
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.cli.commands import COMMAND, command, environment, samples_ran
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.lake.feeds import START, receive
from mg_lakehouse_tests.waiting import wait_until

DAY = START.date().isoformat()
REPORTS = (
    ["backfill", "--from", DAY, "--dry-run"],
    ["retry", "--dry-run"],
    ["maintain", "--dry-run"],
    ["maintain", "--today-only", "--dry-run"],
    ["repair", "bronze"],
    ["status"],
    ["reconcile"],
)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file of a folder with its bytes, and every folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def names(folder: Path | str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def filled(folder: Path) -> Lake:
    lake = Lake(str(folder / ".lake"))
    receive(lake, [bundle(item("ClickActivity", ActivityId="c1"), item("OpenActivity", ActivityId="o1"))])
    return lake


def bronze_alone(folder: Path) -> None:
    filled(folder)


def without_a_table(folder: Path) -> None:
    lake = filled(folder)
    flatten_new(lake)
    shutil.rmtree(lake.uri_of("silver", "clicks"))


def without_rejects(folder: Path) -> None:
    lake = filled(folder)
    flatten_new(lake)
    shutil.rmtree(lake.uri_of("silver", "rejected_items"))


def without_bronze(folder: Path) -> None:
    lake = filled(folder)
    flatten_new(lake)
    shutil.rmtree(lake.uri_of("bronze", "event_feed"))


def of_an_older_release(folder: Path) -> None:
    lake = Lake(str(folder / ".lake"))
    rows = pl.DataFrame(
        {name: [] for name in ("activity_id", "event_at")}, schema={"activity_id": pl.String, "event_at": pl.Datetime("us", "UTC")}
    )
    bronze_alone(folder)
    rows.write_delta(lake.uri_of("silver", "opens"))


def nothing(folder: Path) -> None:
    del folder


@pytest.mark.parametrize("make", [bronze_alone, without_a_table, without_rejects, without_bronze, of_an_older_release, nothing])
def test_what_only_reports_changes_nothing(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    before = tree(tmp_path)
    for arguments in REPORTS:
        command(tmp_path, *arguments)
        assert tree(tmp_path) == before, arguments


def test_what_only_reports_changes_nothing_of_a_lake_with_gold(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    samples_ran(tmp_path_factory, tmp_path)
    shutil.rmtree(tmp_path / ".lake" / "silver" / "deliveries")
    before = tree(tmp_path)
    for arguments in REPORTS:
        command(tmp_path, *arguments)
        assert tree(tmp_path) == before, arguments


def test_a_dry_run_says_of_a_table_that_is_not_there_what_a_rebuild_makes_of_it(tmp_path: Path) -> None:
    without_a_table(tmp_path)
    lake = Lake(str(tmp_path / ".lake"))
    said = list(rebuild(lake, [START.date()], dry_run=True))
    assert [(day.table, day.rows, day.added) for day in said if day.changed] == [("clicks", 1, 1)]
    made = list(rebuild(lake, [START.date()]))
    assert said == [day._replace(version=None) for day in made]


def test_a_killed_run_leaves_nothing_behind_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with SqsEmulator() as queue:
        queue.publish([bundle(item("ClickActivity", ActivityId="c1"))])
        variables = {**queue.environment, "MG_LAKE_URI": str(tmp_path / "lake"), "TMPDIR": str(temporary)}
        run = subprocess.Popen([COMMAND, "run"], cwd=tmp_path, env=environment(tmp_path, **variables), stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: bool(names(temporary)), seconds=60)
            monkeypatch.setattr(tempfile, "tempdir", str(temporary))
            living = names(temporary)
            with temp_folder("sql") as folder:
                assert names(temporary) == sorted([*living, folder.path.name])
        finally:
            run.kill()
            run.wait()
    assert run.returncode == -signal.SIGKILL
    assert all(name.startswith("mg-lakehouse-") for name in names(temporary))
    with temp_folder("sql"):
        pass
    assert names(temporary) == []


def killed(work: Callable[[], object]) -> None:
    """Do something in a process of its own that is killed in the middle of it."""
    if (child := os.fork()) == 0:
        try:
            work()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_file_that_was_not_finished_goes_with_the_next(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"

    def half() -> None:
        with draft(file) as written:
            written.write_text("somebody's address")
            die()

    killed(half)
    assert len(names(tmp_path)) == 1
    with draft(file) as written:
        written.write_text("whole")
    assert names(tmp_path) == ["rows.csv"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_key_and_a_catalogue_that_were_not_finished_go_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(str(tmp_path / "lake"))
    lake.created(EVENT_FEED)
    catalog = Path(lake.root, "catalog.duckdb")
    for dies_at, work in (
        ("mg_lakehouse.gold.pii_key.sync_file", lambda: pii_key(Settings(lake_uri=lake.root), lake)),
        ("mg_lakehouse.serving.views.connect", lambda: write_catalog(lake, [], catalog)),
    ):
        before = set(names(lake.root))
        with monkeypatch.context() as patched:
            patched.setattr(dies_at, die)
            killed(work)
        assert len(set(names(lake.root)) - before) == 1, dies_at
        work()
    assert set(names(lake.root)) == {"bronze", ".pii_key", "catalog.duckdb", "views.sql"}


def test_what_a_killed_sort_spilled_lies_where_the_next_process_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spilled_to: list[str] = []

    class Handle:
        """A table that only notes where a sort would spill to: one that spills has gigabytes."""

        optimize: Handle

        def z_order(self, *_: object, **__: object) -> None:
            spilled_to.append(os.environ["TMPDIR"])

    handle = Handle()
    handle.optimize = handle
    compaction._sort(handle, {})  # type: ignore[arg-type]
    assert Path(spilled_to[0]).parent == tmp_path
    assert Path(spilled_to[0]).name.startswith("mg-lakehouse-sort-")
    assert os.environ.get("TMPDIR") != spilled_to[0]
