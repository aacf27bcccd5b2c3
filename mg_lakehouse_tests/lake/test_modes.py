"""Who may read a local lake: its folder is made for the owner and the group alone, and a folder that is there keeps its mode."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.gold.pii_key import pii_key
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings


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
