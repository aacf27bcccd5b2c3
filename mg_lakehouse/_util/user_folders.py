"""Folders of the user who runs this process, by the XDG Base Directory Specification; a process may have no home, or one that it cannot write."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

__all__ = ["is_ready", "own_folder_in", "xdg_folder"]

_BELOW_HOME = {"XDG_CACHE_HOME": ".cache", "XDG_STATE_HOME": ".local/state"}


def xdg_folder(variable: Literal["XDG_CACHE_HOME", "XDG_STATE_HOME"], name: str) -> Path | None:
    """Return this user's folder of a name, which may not exist; ``None`` where there is no home. A relative path in the variable counts as none, as XDG says."""
    stated = Path(os.environ.get(variable) or ".")
    if stated.is_absolute():
        return stated / name
    try:
        return Path.home() / _BELOW_HOME[variable] / name
    except RuntimeError:  # HOME is not set, and the user id is no user's
        return None


def is_ready(folder: Path) -> bool:
    """Whether files can be written in a folder, which is made for this user alone where it is missing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def own_folder_in(parent: Path, name: str) -> Path:
    """Make or find a folder that nobody else can write, in one where everybody may.

    Raises:
        OSError: it cannot be made, or another user has it.
    """
    folder = parent / f"{name}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(0, "another user can write it", str(folder))
    return folder
