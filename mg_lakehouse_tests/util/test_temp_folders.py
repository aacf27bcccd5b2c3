"""Temporary folders: gone with their process, and after a kill with the next."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mg_lakehouse._util.temp_folders import OwnFolder, temp_folder

OWNER = """
import sys
from pathlib import Path
from mg_lakehouse._util.temp_folders import OwnFolder

folder = OwnFolder(Path(sys.argv[1]), sys.argv[2])
(folder.path / "spilled").write_text("somebody's address")
print(folder.path.name, flush=True)
sys.stdin.read()
"""


@contextmanager
def owner(parent: Path, prefix: str = "own-") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that owns a folder until it is killed, and the folder's name."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(parent), prefix], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def names(parent: Path) -> set[str]:
    return {path.name for path in parent.iterdir()}


def test_a_folder_is_its_owners_alone_and_ends_with_the_block(tmp_path: Path) -> None:
    with OwnFolder(tmp_path / "made", "own-", label="run-") as folder:
        (folder.path / "file").write_text("text")
        assert folder.path.name.startswith("own-run-")
        assert folder.path.stat().st_mode & 0o777 == 0o700
    assert names(tmp_path / "made") == set()


def test_a_folder_outlives_its_owners_kill_until_the_next_is_made(tmp_path: Path) -> None:
    with owner(tmp_path) as (_, living), owner(tmp_path) as (killed, left):
        killed.kill()
        killed.wait()
        assert names(tmp_path) == {living, left}
        with OwnFolder(tmp_path, "own-") as folder:
            assert names(tmp_path) == {living, folder.path.name}
        assert (tmp_path / living / "spilled").read_text() == "somebody's address"


def test_what_is_no_folder_of_this_kind_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("text")
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "own-link").symlink_to(elsewhere)
    (parent / "own-file").write_text("text")
    (parent / "other-folder").mkdir()
    with OwnFolder(parent, "own-"):
        pass
    assert names(parent) == {"own-link", "own-file", "other-folder"}
    assert (elsewhere / "precious").exists()


def test_what_dead_processes_left_is_removed_whatever_it_was_for_and_what_is_a_persons_own_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("mg-lakehouse-dagster-dead0000", "mg-lakehouse-sql-dead0000", "mg-lakehouse-sort-dead0000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spilled").write_text("somebody's address")
    for name in ("mg-lakehouse-backup", "mg-lakehouse", "mg-lakehouse-sqlite"):
        (tmp_path / name).mkdir()
    with owner(tmp_path, "mg-lakehouse-activity-") as (_, living), temp_folder("duckdb") as folder:
        assert names(tmp_path) == {"mg-lakehouse-backup", "mg-lakehouse", "mg-lakehouse-sqlite", living, folder.path.name}
        with temp_folder("duckdb") as second:
            assert folder.path.is_dir()
            assert second.path.is_dir()


def test_a_folder_that_another_process_is_about_to_remove_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a folder's making and its lock another process may lock it, for it seems to be nobody's."""
    made = tempfile.mkdtemp
    locks: list[int] = []

    def made_and_taken(**options: Any) -> str:
        path: str = made(**options)
        if not locks:
            locks.append(os.open(path, os.O_RDONLY))
            fcntl.flock(locks[0], fcntl.LOCK_EX)
        return path

    monkeypatch.setattr(tempfile, "mkdtemp", made_and_taken)
    with OwnFolder(tmp_path, "own-") as folder:
        (taken,) = names(tmp_path) - {folder.path.name}
    os.close(locks[0])
    assert names(tmp_path) == {taken}
