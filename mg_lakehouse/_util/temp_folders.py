"""Temporary folders that do not outlive a kill: the next process that makes one removes those whose owner is dead.

A process that ends in order removes its own. One that is killed cannot, and what DuckDB spilled or dbt wrote would stay for
ever. The owner holds a lock on its folder, which the kernel ends with the process: no process id is looked at, for another
container may share the disk and not the ids. Where a file system has no locks, nothing is removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["OwnFolder"]


class OwnFolder:
    """A new folder of this process, mode 0700; as a context manager, until the end of the block.

    Args:
        parent: where it is made; made itself where it is missing.
        prefix: what its name begins with. Folders of the same prefix that no living process owns are removed first.
        label: what follows in the name.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, parent: Path, prefix: str, *, label: str = "") -> None:
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f"{prefix}*"):
            _remove_if_left(left)
        self.path, self._lock = _made(parent, prefix + label)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _made(parent: Path, prefix: str) -> tuple[Path, int]:
    """A new folder, and the descriptor that its lock hangs on."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = os.open(path, os.O_RDONLY)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists():
            return path, lock
        os.close(lock)  # another process took it for one that was left, in the instant before the lock


def _remove_if_left(path: Path) -> None:
    """Remove a folder of this user's that nobody has a lock on."""
    with suppress(OSError):
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
