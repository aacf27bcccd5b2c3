"""Handles of Delta tables that are moved on to the newest version instead of opened anew.

delta-rs (1.6.6) reads each commit since the last checkpoint twice to open a table, and a run opens a table a dozen times: on S3, 700 events
in 49 tables and one event more were 4,000 requests, of which 570 were distinct. A handle that nobody holds any longer is lent again.
If nothing was committed since, that costs one listing, on a local disk a look at two names.

No two lend the same handle: what one reads stays as it was when it opened the table, and a commit is compared with that version alone.
"""

from __future__ import annotations

import copy
import os
import re
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import obstore
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from mg_lakehouse.lake.log_files import LOG, entry_file, table_folder
from mg_lakehouse.location import address_of

if TYPE_CHECKING:
    from obstore.store import S3Config

__all__ = ["Handles", "KnownEntry", "KnownLog", "Table", "log_of_handle"]

_ENTRY: Final = re.compile(r"(\d{20})\.json$")


@dataclass(frozen=True, slots=True)
class KnownEntry:
    """What is kept of a log's entry: what the commit says of itself, ``None`` where nobody wrote it down, and its app transactions."""

    version: int
    commit: dict[str, Any] | None
    apps: Mapping[str, int]


@dataclass(slots=True)
class KnownLog:
    """What was read of a log: entries by version, which never change, and by app transaction at which version of the table it was looked for and what it had.

    ``read_entry`` returns an entry's bytes, ``None`` if there is none. Two that look at once read an entry once: ``reading`` is held meanwhile.
    """

    read_entry: Callable[[int], bytes | None]
    entries: dict[int, KnownEntry] = field(default_factory=dict)
    apps: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    reading: threading.Lock = field(default_factory=threading.Lock)


class Table(DeltaTable):
    """A handle of delta-rs that keeps what was read of its log."""

    def __init__(self, uri: str, *, storage_options: Mapping[str, str], log: KnownLog) -> None:
        super().__init__(uri, storage_options=dict(storage_options))
        self.log = log


def log_of_handle(handle: DeltaTable) -> KnownLog:
    """Return what is known of a handle's log: nothing yet, if it is not one of a lake's."""
    if isinstance(handle, Table):
        return handle.log
    options = handle._storage_options or {}  # noqa: SLF001  delta-rs has no other way to them
    return KnownLog(partial(Handles().read_entry, address_of(handle.table_uri).rstrip("/"), options))


@dataclass(slots=True)
class _Kept:
    """A handle and what it was opened with. ``entry`` identifies the log's entry of ``version``: a table that was removed and made anew has another."""

    uri: str
    options: Mapping[str, str]
    generation: int
    table: Table
    version: int
    entry: object


class Handles:
    """The handles of some lake that nobody holds: one a table at most. Threads may use it at once."""

    def __init__(self) -> None:
        self._free: dict[str, _Kept] = {}
        self._generations: dict[str, int] = {}
        self._client: tuple[str, Mapping[str, str], S3Store] | None = None

    def open(self, uri: str, storage_options: Mapping[str, str]) -> Table:
        """Open the table at its newest version.

        Raises:
            DeltaError, OSError: as delta-rs does.
        """
        generation = self._generations.get(uri, 0)
        kept = self._free.pop(uri, None)
        if kept is None or (kept.generation, kept.options) != (generation, storage_options) or not self._moved_on(kept):
            log = KnownLog(partial(self.read_entry, uri, dict(storage_options)))
            table = Table(uri, storage_options=storage_options, log=log)
            kept = _Kept(uri, dict(storage_options), generation, table, table.version(), _entry_on_disk(table, table.version()))
        lent = copy.copy(kept.table)  # of the same state in delta-rs: the kept one moves on with what the borrower commits or loads
        weakref.finalize(lent, self._free.__setitem__, uri, kept)
        return lent

    def forget(self, uri: str) -> None:
        """Open a table anew the next time: entries of its log are damaged, or were changed in their places, which its newest entry does not show."""
        self._generations[uri] = self._generations.get(uri, 0) + 1

    def read_entry(self, uri: str, storage_options: Mapping[str, str], version: int) -> bytes | None:
        """Read an entry of a table's log, ``None`` if there is none.

        Raises:
            OSError: it cannot be read.
        """
        root, layer, name = uri.rsplit("/", 2)
        entry = f"{layer}/{name}/{LOG}/{version:020}.json"
        try:
            return bytes(obstore.get(self.store(root, storage_options), entry).bytes()) if "://" in uri else Path(root, entry).read_bytes()
        except (FileNotFoundError, NotFoundError):
            return None
        except BaseError as error:
            raise OSError(str(error)) from error

    def folders(self, uri: str, storage_options: Mapping[str, str]) -> frozenset[str]:
        """List the names of the folders in one, which may be missing.

        Raises:
            OSError: it cannot be listed.
        """
        if "://" not in uri:
            # Asked first, for a process that is kept from what lies beside the layers is refused to list one that is missing.
            return frozenset(entry.name for entry in os.scandir(uri) if entry.is_dir()) if Path(uri).is_dir() else frozenset()
        root, layer, _ = uri.rsplit("/", 2)
        try:
            found = obstore.list_with_delimiter(self.store(root, storage_options), layer)
        except BaseError as error:
            raise OSError(str(error)) from error
        return frozenset(prefix.rsplit("/", 1)[-1] for prefix in found["common_prefixes"])

    def _moved_on(self, kept: _Kept) -> bool:
        """Move a handle on to the newest version. Returns whether it is still the table's: else the table must be opened anew."""
        table, version = kept.table, kept.version
        try:
            entries = self._entries_since(kept) if table_folder(table) is None else {version: _entry_on_disk(table, version)}
            newer = table.version() + 1
            if entries.get(version) is None or kept.entry not in {None, entries[version]}:
                return False
            if max(entries) >= newer or _entry_on_disk(table, newer) is not None:
                table.update_incremental()
        except (DeltaError, BaseError, OSError):
            return False
        kept.version = table.version()
        kept.entry = entries.get(kept.version) or _entry_on_disk(table, kept.version)
        return True

    def _entries_since(self, kept: _Kept) -> dict[int, object]:
        """List the tags of a log's entries in the store, by version, from the kept version on."""
        root, layer, name = kept.uri.rsplit("/", 2)
        log = f"{layer}/{name}/{LOG}"
        before = f"{log}/{kept.version - 1:020}.json" if kept.version else None
        found = obstore.list(self.store(root, kept.options), log, offset=before)
        named = ((_ENTRY.search(each["path"]), each["e_tag"]) for each in chain.from_iterable(found))
        return {int(name[1]): tag for name, tag in named if name}

    def store(self, root: str, options: Mapping[str, str]) -> S3Store:
        """Return a client of a lake's root, with the options that delta-rs gets. One is for all tables, for each has connections of its own."""
        client = self._client
        if client is None or client[:2] != (root, options):
            config = cast("S3Config", {name: value for name, value in options.items() if name != "aws_allow_http"})
            plain = options.get("aws_allow_http") == "true"
            client = self._client = (root, dict(options), S3Store.from_url(root, config=config, client_options={"allow_http": plain}))
        return client[2]


def _entry_on_disk(table: DeltaTable, version: int) -> object:
    """Return what identifies the log's entry of a version on a local disk; ``None`` if there is none, or the table is in a store."""
    folder = table_folder(table)
    if folder is None:
        return None
    try:
        stat = entry_file(folder, version).stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
