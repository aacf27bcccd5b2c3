"""Temporary folders that do not outlive a kill: the next process that creates one removes those of dead owners.

:func:`temp_folder` makes one in the system's folder for temporary files, and looks for what any of our processes left there, whatever it was for.
:class:`OwnFolder` makes one elsewhere.

A process that ends in order removes its own. A killed one cannot, and what DuckDB spilled or dbt wrote would stay
forever. The owner holds a lock on its folder, which the kernel ends with the process. Process ids do not count, for another
container may share the disk and not the ids. On a file system without locks, nothing is removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, get_args

__all__ = ["OwnFolder", "Purpose", "temp_folder"]

Purpose = Literal["activity", "dagster", "duckdb", "rederive", "repair", "sort", "sql"]
"""What a folder in the system's folder for temporary files is for."""

_NAME: Final = "mg-lakehouse-{}-"


class OwnFolder:
    """A new folder of this process, mode 0700; as a context manager, until the end of the block.

    Args:
        parent: the folder to create it in; created if it is missing.
        prefix: the beginning of its name. Folders with the same prefix that no living process owns are removed first.
        label: the next part of its name.
        leftovers: how other names begin, whose folders are looked through too.

    Raises:
        OSError: the folder cannot be created.
    """

    def __init__(self, parent: Path, prefix: str, *, label: str = "", leftovers: tuple[str, ...] = ()) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(parent, (prefix, *leftovers))
        self.path, self._lock = _made(parent, prefix + label)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def temp_folder(purpose: Purpose) -> OwnFolder:
    """Make a folder of this process for temporary files. Those that dead processes left, for any purpose, are removed first.

    Raises:
        OSError: it cannot be created.
    """
    # By name, and not by `mg-lakehouse-*`: a folder that a person made is none of these.
    return OwnFolder(Path(tempfile.gettempdir()), _NAME.format(purpose), leftovers=tuple(map(_NAME.format, get_args(Purpose))))


def _made(parent: Path, prefix: str) -> tuple[Path, int]:
    """Create a new folder; returns it and the descriptor that holds its lock."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            taken = True  # another process takes it for a leftover, in the instant before the lock
        except OSError:
            taken = False  # no locks on this file system
        else:
            taken = not path.exists()
        if not taken:
            return path, lock
        os.close(lock)


def _remove_leftovers(parent: Path, prefixes: tuple[str, ...]) -> None:
    """Remove the folders whose names begin so and that no living process owns."""
    with suppress(OSError):  # a folder that may be entered, but not listed
        for path in parent.iterdir():
            if path.name.startswith(prefixes):
                _remove_if_left(path)


def _remove_if_left(path: Path) -> None:
    """Remove a folder of this user that nobody has locked."""
    with suppress(OSError):
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
