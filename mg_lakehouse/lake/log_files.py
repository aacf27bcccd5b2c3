"""Reads the files of a local Delta table on disk: entries of its log, and data files by the paths in the entries.

delta-rs reads and writes tables. This module serves what it does not do: sync files, and name the damaged one. Only this module
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
"""Kinds of actions in an entry, one a line, by the Delta protocol."""


def table_folder(handle: DeltaTable) -> Path | None:
    """Return the folder of a table, ``None`` if it is in an object store."""
    address = address_of(handle.table_uri)
    return Path(address) if address.startswith("/") else None


def log_of(folder: Path) -> Path:
    """Return the folder of a table's log."""
    return folder / LOG


def entry_file(folder: Path, version: int) -> Path:
    """Return the log's entry of a version."""
    return log_of(folder) / f"{version:020}.json"


def data_file(folder: Path, path: str) -> Path:
    """Return the file that an action names; paths in the log are URL-encoded."""
    return folder / unquote(path)


def actions_of(entry: bytes) -> list[dict[str, Any]]:
    """Return the actions of an entry, in order.

    Raises:
        ValueError: it is not a whole entry of a Delta log: each line is an object with a known action, and delta-rs begins or ends every
            entry with ``commitInfo``.
    """
    actions: list[dict[str, Any]] = [json.loads(line) for line in entry.splitlines() if line.strip()]
    if not all(isinstance(action, dict) and ACTIONS & action.keys() for action in actions):
        raise ValueError("A line is not an action of a Delta log.")
    if not any("commitInfo" in action for action in actions):
        raise ValueError("It does not say who committed it.")
    return actions


def files_named(actions: Iterable[Mapping[str, Any]], *kinds: str) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of actions that name files, of these kinds."""
    return (action[kind] for action in actions for kind in kinds if kind in action)
