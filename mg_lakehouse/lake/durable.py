"""On disk: what stands in a local table is synced before anything is done that cannot be undone without it.

delta-rs (1.6.6) writes files and never syncs them: for half a minute a commit is in the memory of the kernel alone, and a power cut leaves entries
of 0 bytes and data files that are torn, of messages that the queue has deleted. So whoever commits syncs what the commit names, and whoever builds on
what another committed (a message that bronze holds already, a slice for silver, versions that gold includes) syncs that first. An object store keeps
what it answered for, and nothing is done there.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from deltalake import DeltaTable

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.lake.log_files import actions_of, data_file, entry_file, files_named, log_of, table_folder

__all__ = ["make_durable", "sync_checkpoints", "sync_file", "sync_folder"]

_WRITTEN_BACK: Final = 600.0
"""Seconds after which the kernel has written a file by itself, with a wide margin (Linux: 30): of a table that this process sees first, older entries are left alone."""

_NO_SYNC: Final = {errno.EINVAL, errno.ENOTSUP, errno.EROFS}
"""What a file system says that has no sync for such a file, most often a folder."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}

_durable: Final[dict[tuple[Path, str], int]] = {}
"""By folder and id, for one may be removed and made anew, the version up to which this process has synced a table."""
_seen: Final[set[tuple[str, Path]]] = set()
"""By id of the table, folders of data files whose own entries are on disk."""


def make_durable(handle: DeltaTable) -> None:
    """Sync what the versions of a local table name, up to the handle's, that this process does not know to be on disk.

    Data files first and the log's entries behind them, so that an entry that survives names files that did.

    Raises:
        PermanentError: the disk is full or fails. What was committed may be gone after a power cut: nothing may be deleted for it.
    """
    folder = table_folder(handle)
    if folder is None:
        return
    key, version = (folder, str(handle.metadata().id)), handle.version()
    known = _durable.get(key)
    if known is not None and known >= version:
        return
    entries = [entry_file(folder, each) for each in sorted(_unsynced(folder, known, version))]
    if known is None:
        for above in folder.parents:  # any of them may be new, but none that we may not read
            if os.access(above, os.R_OK):
                sync_folder(above)
    own = {file.parent for entry in entries for file in _data_files(folder, entry)}
    new = {each for each in own if (key[1], each) not in _seen}
    folders = own | {above for each in new for above in each.parents if above == folder or folder in above.parents}
    for each in folders | ({folder} if known is None else set()):
        sync_folder(each)
    for entry in entries:
        with suppress(FileNotFoundError):  # maintenance removed it: it is older than anything that matters
            sync_file(entry)
    sync_folder(log_of(folder))
    _seen.update((key[1], each) for each in own)
    _durable[key] = version


def sync_checkpoints(handle: DeltaTable) -> None:
    """Sync a local table's checkpoints, for what stands before them in the log is about to be removed.

    Raises:
        PermanentError: the disk is full or fails.
    """
    folder = table_folder(handle)
    if folder is None:
        return
    for file in (*log_of(folder).glob("*.checkpoint*"), log_of(folder) / "_last_checkpoint"):
        with suppress(FileNotFoundError):
            sync_file(file)
    sync_folder(log_of(folder))


def sync_file(file: Path) -> None:
    """Have a file's content on disk.

    Raises:
        FileNotFoundError: there is none.
        PermanentError: the disk is full or fails.
    """
    _sync(file, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk.

    Raises:
        FileNotFoundError: there is none.
        PermanentError: the disk is full or fails.
    """
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    try:
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _NO_SYNC:
            return
        remedy = "free some space" if error.errno in _FULL else "see to the disk before anything else"
        raise PermanentError(
            f"{path} could not be written through to the disk ({error.strerror}): {remedy}. Of what it holds nothing was deleted elsewhere."
        ) from error


def _unsynced(folder: Path, known: int | None, version: int) -> Iterator[int]:
    """Versions that may not be on disk, newest first."""
    youngest = time.time() - _WRITTEN_BACK
    for each in range(version, -1 if known is None else known, -1):
        if known is None:
            try:
                if entry_file(folder, each).stat().st_mtime < youngest:
                    return
            except FileNotFoundError:
                return
        yield each


def _data_files(folder: Path, entry: Path) -> Iterator[Path]:
    """Sync the data files that an entry adds, and give them out."""
    try:
        actions = actions_of(entry.read_bytes())
    except (FileNotFoundError, ValueError):  # removed by maintenance; or damaged, which opening the table says
        return
    for added in files_named(actions, "add", "cdc"):
        file = data_file(folder, added["path"])
        with suppress(FileNotFoundError):  # as above
            sync_file(file)
            yield file
