"""Reads the commits of a table's log: what each says of itself, and the app transactions that a table has.

The entries are read by themselves, side by side, and each once: a handle of a :class:`~mg_lakehouse.lake.lake.Lake` keeps what was read, for a commit
never changes. delta-rs (1.6.6) lists the log for each history, and numbers it from the handle's version though it has read on to the log's newest; and
each look at an app transaction reads all entries since the last checkpoint: 40 commits were 40 requests, 25 times in a run.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from deltalake import DeltaTable
from deltalake.exceptions import DeltaProtocolError

from mg_lakehouse._util.side_by_side import side_by_side
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.handles import KnownEntry, KnownLog, log_of_handle
from mg_lakehouse.location import address_of

__all__ = ["app_version", "commit_at", "commits_of", "committed_at", "log_begins"]

_FIRST_LOOK: Final = 8


def commits_of(table: DeltaTable, *, first_look: int = _FIRST_LOOK) -> Iterator[dict[str, Any]]:
    """Yield the commits up to the handle's version, newest first, read in growing numbers: the newest ones cost little.

    Raises:
        PermanentError, TransientError: an entry cannot be read.
    """
    return (entry.commit for entry in _entries_of(table, first_look) if entry.commit is not None)


def commit_at(table: DeltaTable, version: int) -> dict[str, Any] | None:
    """Return one commit, which may be newer than the handle's version; ``None`` if the log has no such entry, or the entry does not say who wrote it.

    Raises:
        PermanentError, TransientError: the entry cannot be read.
    """
    log = log_of_handle(table)
    with log.reading:
        if version not in log.entries:
            _read_entries(table, log, version, 1)
    return entry.commit if (entry := log.entries.get(version)) is not None else None


def app_version(table: DeltaTable, app: str) -> int | None:
    """Return the version of an app transaction in the handle's version of a table; ``None`` if it has none.

    It is that of ``DeltaTable.transaction_version``, for transactions that never expire. It may guard a commit through the handle: delta-rs compares
    what was committed since the handle's version, whoever looked for the transaction.

    Raises:
        PermanentError, TransientError: an entry cannot be read.
    """
    log, now = log_of_handle(table), table.version()
    known_at, known = log.apps.get(app, (-1, None))
    found = known if known_at == now else _app_version(table, app, known_at, known)
    if now > known_at:
        log.apps[app] = (now, found)
    return found


def _app_version(table: DeltaTable, app: str, known_at: int, known: int | None) -> int | None:
    """Look into the newest commits, and where they do not tell, have delta-rs look into all since the last checkpoint, and that."""
    for entry in islice(_entries_of(table, _FIRST_LOOK), _FIRST_LOOK):
        if app in entry.apps:
            return entry.apps[app]
        if entry.version == known_at:
            return known
        if entry.version == 0:
            return None
    with store_errors(_name(table)):
        return table.transaction_version(app)


def committed_at(commit: dict[str, Any]) -> datetime:
    """Return when a commit of :func:`commits_of` was made."""
    return datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)


def log_begins(table: DeltaTable) -> datetime | None:
    """Return when the log's oldest entry was written; ``None`` if the log goes back to the table's first. Reads the whole log.

    Raises:
        PermanentError, TransientError: an entry cannot be read.
    """
    oldest = deque(commits_of(table), maxlen=1)[0]
    return None if oldest["version"] == 0 else committed_at(oldest)


def _entries_of(table: DeltaTable, first_look: int) -> Iterator[KnownEntry]:
    """Yield the entries up to the handle's version, newest first, as far back as the log goes."""
    log, look = log_of_handle(table), 1
    for version in range(table.version(), -1, -1):
        with log.reading:
            if version not in log.entries:
                _read_entries(table, log, version, look)
                look = max(first_look, look * 4)
        if version not in log.entries:
            return
        yield log.entries[version]


def _read_entries(table: DeltaTable, log: KnownLog, newest: int, count: int) -> None:
    """Read the entries of some versions that are not known, down from one, as far back as the log goes."""
    lacking = [version for version in range(newest, max(-1, newest - count), -1) if version not in log.entries]
    with store_errors(_name(table)):
        for version, entry in zip(lacking, side_by_side(log.read_entry, lacking), strict=True):
            if entry is None:
                return
            log.entries[version] = _known_entry(version, entry)


def _known_entry(version: int, entry: bytes) -> KnownEntry:
    """Keep of an entry what it says of itself, which may be nothing, and its app transactions.

    Raises:
        DeltaProtocolError: it is torn.
    """
    commit: dict[str, Any] | None = None
    apps: dict[str, int] = {}
    for line in entry.splitlines():
        kind = line[:20]
        if b'"commitInfo"' not in kind and b'"txn"' not in kind:
            continue
        try:
            action = json.loads(line)
        except ValueError as error:
            raise DeltaProtocolError(f"Invalid JSON in the log entry of version {version}: {error}") from error
        if "txn" in action:
            apps[action["txn"]["appId"]] = action["txn"]["version"]
        elif "commitInfo" in action:
            commit = action["commitInfo"] | {"version": version}
    return KnownEntry(version, commit, apps)


def _name(table: DeltaTable) -> str:
    root, layer, name = address_of(table.table_uri).rstrip("/").rsplit("/", 2)
    return f"{layer}/{name} in the lake {root}"
