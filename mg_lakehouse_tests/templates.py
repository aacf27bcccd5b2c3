"""Lakes that take seconds to make and hundredths of one to copy: each is made once for a test session, whichever process asks first."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mg_lakehouse.lake.lake import Lake

__all__ = ["copied", "made_once"]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that ``make`` filled, the same for all processes of the session: copy it, do not change it.

    Args:
        factory: where the session keeps its temporary folders.
        name: what no other template has.
        make: fills the folder. Where it fails, the next who asks tries again.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, unfinished = root / f"template-{name}", root / f"template-{name}.unfinished"
    with (root / f"template-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


def copied(template: Path, folder: Path) -> Lake:
    """A copy of a lake. Its tables have the ids of the template's, and its files the names."""
    shutil.copytree(template, folder)
    return Lake(str(folder))
