"""Who may read a local lake: a new one is for the owner and the group alone, folder and files, and one that is there goes on as it was."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.jobs import INGEST_JOB
from mg_lakehouse.dagster.partitions import today
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.gold.pii_key import pii_key
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.modes import closed_modes
from mg_lakehouse.settings import Settings, check_settings, load_settings
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.cli.commands import command


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_enters_a_new_lake_whatever_is_made_in_it_first(tmp_path: Path) -> None:
    Lake(str(tmp_path / "below" / "tables")).created(EVENT_FEED)
    assert mode(tmp_path / "below" / "tables") == 0o750
    key = Lake(str(tmp_path / "key"))
    pii_key(Settings(lake_uri=key.root, pii_key=None), key)
    assert mode(tmp_path / "key") == 0o750


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o775)
    Lake(str(root)).created(EVENT_FEED)
    assert mode(root) == 0o775


CLICK = samples()["01_ClickActivity.xml"]
KEY = ".pii_key"


def modes(root: Path) -> set[tuple[str, int]]:
    """The modes of a lake's folders and files, the key's apart: that is its owner's in any case."""
    assert not (root / KEY).exists() or mode(root / KEY) == 0o600
    paths = (root, *(path for path in root.rglob("*") if path.name != KEY))
    return {("folder" if path.is_dir() else "file", mode(path)) for path in paths}


CLOSED = {("folder", 0o750), ("file", 0o640)}


def test_all_that_commands_write_of_a_new_lake_is_for_owner_and_group(tmp_path: Path) -> None:
    (tmp_path / "click.xml").write_text(CLICK)
    lake = tmp_path / ".lake"
    for arguments in (["load", "click.xml"], ["maintain"], ["backfill", "--from", today()], ["repair", "bronze", "--yes"], ["catalog"]):
        done = command(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
        assert modes(lake) == CLOSED, arguments
    assert {path.name for path in lake.iterdir()} == {"bronze", "silver", "gold", KEY, "catalog.duckdb", "views.sql"}
    assert os.umask(0o022) == 0o022


@pytest.mark.parametrize(
    ("umask", "existing", "written"),
    [
        (None, None, CLOSED),
        ("007", None, {("folder", 0o770), ("file", 0o660)}),
        ("0077", None, {("folder", 0o700), ("file", 0o600)}),
        ("022", None, {("folder", 0o755), ("file", 0o644)}),
        # A lake that is there goes on, open or closed.
        (None, 0o755, {("folder", 0o755), ("file", 0o644)}),
        (None, 0o750, CLOSED),
        ("027", 0o755, {("folder", 0o755), *CLOSED}),
    ],
)
def test_all_that_a_run_of_dagster_writes_has_the_modes_of_the_setting_or_of_the_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: str | None, existing: int | None, written: set[tuple[str, int]]
) -> None:
    lake = tmp_path / "lake"
    if existing is not None:
        lake.mkdir()
        lake.chmod(existing)
    with SqsEmulator() as queue, dg.DagsterInstance.ephemeral() as instance:
        for name, value in {**queue.environment, "MG_LAKE_URI": str(lake), **({} if umask is None else {"MG_LAKE_UMASK": umask})}.items():
            monkeypatch.setenv(name, value)
        queue.publish([CLICK])
        job = build_definitions(load_settings(dotenv=None)).resolve_job_def(INGEST_JOB)
        assert job.execute_in_process(instance=instance, partition_key=today()).success
    assert modes(lake) == written
    assert {path.name for path in lake.iterdir()} == {"bronze", "silver"}
    assert os.umask(0o022) == 0o022


def test_of_lakes_written_at_once_the_strictest_umask_holds_until_the_last_is_done(tmp_path: Path) -> None:
    first, second = (Lake(str(tmp_path / name)) for name in ("first", "second"))
    one, other = closed_modes(first, "022"), closed_modes(second, "077")
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    (tmp_path / "file").touch()
    assert mode(tmp_path / "file") == 0o600
    other.__exit__(None, None, None)
    assert os.umask(0o022) == 0o022


def test_a_process_that_is_stricter_stays_so(tmp_path: Path) -> None:
    os.umask(0o077)
    with closed_modes(Lake(str(tmp_path / "lake"))):
        (tmp_path / "file").touch()
    assert mode(tmp_path / "file") == 0o600
    assert os.umask(0o077) == 0o077


@pytest.mark.parametrize("umask", ["27", "0o27", "777", "127", "089", "-27", "u=rwx", "00270"])
def test_an_umask_that_is_none_or_keeps_the_owner_out_is_refused(umask: str) -> None:
    with pytest.raises(ConfigurationError, match=r"lake_umask: .* is no umask that leaves the owner everything"):
        check_settings({"lake_umask": umask})
