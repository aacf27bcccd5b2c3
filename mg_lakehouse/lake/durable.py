"""Makes commits durable: syncs a local table's files before any step that cannot be undone without them.

delta-rs (1.6.6) writes files and never syncs them: for half a minute a commit exists only in the kernel's memory. A power cut then leaves entries
of 0 bytes and torn data files, for messages that the queue has deleted. So every committer syncs what its commit names, and every step that builds on
another's commit (a message that bronze has already, a slice for silver, versions that gold includes) syncs that first. An object store keeps
what it acknowledged, and nothing is synced there.
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
"""Seconds after which the kernel has written a file by itself, with a wide margin (Linux: 30). Older entries of a table that is new to this process are not synced."""

_NO_SYNC: Final = {errno.EINVAL, errno.ENOTSUP, errno.EROFS}
"""Errors of a file system that cannot sync such a file, most often a folder."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}

_durable: Final[dict[tuple[Path, str], int]] = {}
"""The version up to which this process has synced a table, by folder and id: a table may be removed and recreated."""
_seen: Final[set[tuple[str, Path]]] = set()
"""Folders of data files, with the table's id, whose own directory entries are on disk."""


def make_durable(handle: DeltaTable) -> None:
    """Sync the files of a local table up to the handle's version, except those that this process knows to be on disk.

    Data files come first and the log's entries after them, so that an entry that survives names files that did.

    Raises:
        PermanentError: the disk is full or fails. A power cut may undo the commit: delete nothing because of it.
    """
    folder = table_folder(handle)
    if folder is None:
        return
    key, version = (folder, str(handle.metadata().id)), handle.version()
    known = _durable.get(key)
    if known is not None and known >= version:
        return
    entries = [entry_file(folder, unsynced) for unsynced in sorted(_unsynced(folder, known, version))]
    if known is None:
        for above in folder.parents:  # any readable one may be new; one that we may not read is not
            if os.access(above, os.R_OK):
                sync_folder(above)
    used = {file.parent for entry in entries for file in _data_files(folder, entry)}
    new = {path for path in used if (key[1], path) not in _seen}
    folders = used | {above for path in new for above in path.parents if above == folder or folder in above.parents}
    for path in folders | ({folder} if known is None else set()):
        sync_folder(path)
    for entry in entries:
        with suppress(FileNotFoundError):  # maintenance removed it: it is older than anything that matters
            sync_file(entry)
    sync_folder(log_of(folder))
    _seen.update((key[1], path) for path in used)
    _durable[key] = version


def sync_checkpoints(handle: DeltaTable) -> None:
    """Sync a local table's checkpoints, because the log's entries before them are about to be removed.

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
    """Write a file's content through to the disk.

    Raises:
        FileNotFoundError: there is none.
        PermanentError: the disk is full or fails.
    """
    _sync(file, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder through to the disk.

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
        remedy = "free some space" if error.errno in _FULL else "check the disk before anything else"
        raise PermanentError(
            f"{path} could not be written through to the disk ({error.strerror}): {remedy}. Nothing that it holds was deleted elsewhere."
        ) from error


def _unsynced(folder: Path, known: int | None, version: int) -> Iterator[int]:
    """Yield the versions that may not be on disk, newest first."""
    youngest = time.time() - _WRITTEN_BACK
    for unsynced in range(version, -1 if known is None else known, -1):
        if known is None:
            try:
                if entry_file(folder, unsynced).stat().st_mtime < youngest:
                    return
            except FileNotFoundError:
                return
        yield unsynced


def _data_files(folder: Path, entry: Path) -> Iterator[Path]:
    """Sync the data files that an entry adds, and yield them."""
    try:
        actions = actions_of(entry.read_bytes())
    except (FileNotFoundError, ValueError):  # removed by maintenance; or damaged, which opening the table reports
        return
    for added in files_named(actions, "add", "cdc"):
        file = data_file(folder, added["path"])
        with suppress(FileNotFoundError):  # as above
            sync_file(file)
            yield file
