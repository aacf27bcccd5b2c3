"""Modes of a local lake's files, by the umask of the process that writes it.

delta-rs and DuckDB make the files, and offer no mode: only the umask decides, and it is that of the whole process. So it is set where a command or a
step of Dagster begins to write a lake, and restored at its end; nothing of a library that is called without those changes it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mg_lakehouse.location import Location

__all__ = ["closed_modes", "root_mode"]

_ROOT_MODE: Final = 0o750
_OPEN: Final = 0o777
_OTHERS: Final = 0o007
_NEW_LAKE: Final = 0o027
"""Umask of a lake that others may not enter: files 0640, folders 0750."""

_lock: Final = threading.Lock()
_before: list[int] = []
"""The umask before each block that runs, the process's own first."""
_chosen: list[int] = []
"""The umasks that were chosen, of the blocks that run."""


def root_mode() -> int:
    """Return the mode to make a new lake's folder with: the umask cuts it, and where none was chosen others are kept out in any case."""
    return _OPEN if _chosen else _ROOT_MODE


@contextmanager
def closed_modes(lake: Location, umask: str | None = None) -> Iterator[None]:
    """Within, files of a local lake get the modes that its folder or the setting says.

    With ``umask``, octal digits, that is the process's. Without, the process's own counts, and others get nothing where the folder is closed to them or is
    not there yet. Of blocks that run at the same time, in threads or one within the other, the strictest umask holds until the last one ends.
    """
    if not lake.is_local:
        yield
        return
    with _lock:
        chosen = None if umask is None else int(umask, 8)
        own = os.umask(0o077)  # to read it is to set it: never to one that opens
        mask = _umask_of(Path(lake.root), own) if chosen is None else chosen
        os.umask(mask | own if _before else mask)
        _before.append(own)
        _chosen.extend([] if chosen is None else [chosen])
    try:
        yield
    finally:
        with _lock:
            if chosen is not None:
                _chosen.remove(chosen)
            own = _before.pop()
            if not _before:
                os.umask(own)


def _umask_of(root: Path, own: int) -> int:
    try:
        mode = root.stat().st_mode
    except OSError:  # a new lake
        return own | _NEW_LAKE
    return own if mode & _OTHERS else own | _NEW_LAKE
