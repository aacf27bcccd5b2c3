"""The files of a local Delta table as they lie on the disk: entries of its log, and data files by the paths that entries name.

delta-rs reads and writes them. Here is what it leaves to others: to sync them, and to say which one is damaged. The only place that
knows how an address of delta-rs and a path in an entry become a path of this machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from deltalake import DeltaTable

from mg_lakehouse.location import address_of

__all__ = ["ACTIONS", "LOG", "actions_of", "data_file", "entry_file", "files_named", "log_of", "table_folder"]

LOG: Final = "_delta_log"

ACTIONS: Final = frozenset({"add", "remove", "cdc", "txn", "metaData", "protocol", "commitInfo", "domainMetadata"})
"""Kinds of actions that an entry may hold, one a line; the Delta protocol's."""


def table_folder(handle: DeltaTable) -> Path | None:
    """The folder of a table, ``None`` where it is in an object store."""
    address = address_of(handle.table_uri)
    return Path(address) if address.startswith("/") else None


def log_of(folder: Path) -> Path:
    """The folder of a table's log."""
    return folder / LOG


def entry_file(folder: Path, version: int) -> Path:
    """The log's entry of a version."""
    return log_of(folder) / f"{version:020}.json"


def data_file(folder: Path, path: str) -> Path:
    """The file that an action names; paths in the log are URL-encoded."""
    return folder / unquote(path)


def actions_of(entry: bytes) -> list[dict[str, Any]]:
    """The actions of an entry, in order.

    Raises:
        ValueError: it is no entry of a Delta log, or none that is whole: each line is an object with an action that is known, and delta-rs
            begins or ends every entry with ``commitInfo``.
    """
    actions: list[dict[str, Any]] = [json.loads(line) for line in entry.splitlines() if line.strip()]
    if not all(isinstance(action, dict) and ACTIONS & action.keys() for action in actions):
        raise ValueError("A line is no action of a Delta log.")
    if not any("commitInfo" in action for action in actions):
        raise ValueError("It does not say who committed it.")
    return actions


def files_named(actions: Iterable[Mapping[str, Any]], *kinds: str) -> Iterator[Mapping[str, Any]]:
    """What some actions say of files, of these kinds."""
    return (action[kind] for action in actions for kind in kinds if kind in action)
