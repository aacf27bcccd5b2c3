"""Temporary folders: gone with their process, and after a kill with the next."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mg_lakehouse._util.temp_folders import OwnFolder

OWNER = """
import sys
from pathlib import Path
from mg_lakehouse._util.temp_folders import OwnFolder

folder = OwnFolder(Path(sys.argv[1]), "own-")
(folder.path / "spilled").write_text("somebody's address")
print(folder.path.name, flush=True)
sys.stdin.read()
"""


@contextmanager
def owner(parent: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that owns a folder until it is killed, and the folder's name."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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
