"""Detects damage of a local table: log entries and data files that are empty, torn, missing or foreign, after a power cut or an edit by hand.

delta-rs (1.6.6) takes an entry of 0 bytes for a commit of nothing and goes on after an object that is no action; of other damage it names neither the
file nor the remedy. So opening a table checks what was added since this process last checked it: sizes and entries, not the content of data files,
about 30 microseconds a file. An object store writes a file whole or not at all, and nothing is checked there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, SET_ASIDE
from mg_lakehouse.lake.log_files import ACTIONS, LOG, actions_of, data_file, entry_file, files_named, log_of
from mg_lakehouse.location import VENDOR_TOTALS_NAME

__all__ = [
    "Damage",
    "State",
    "damage_of",
    "empty_entries",
    "entry_state",
    "log_versions",
    "refuse_damage",
    "refuse_empty_entries",
    "refuse_new_damage",
    "remedy",
]

State = Literal["empty", "torn", "missing", "foreign", "stale"]
"""``stale`` is a checkpoint made from a log with a gap."""

_sound: Final[dict[tuple[Path, str], int]] = {}
"""The version up to which this process found a table whole, by folder and id: a table may be removed and recreated."""

_CHECKPOINT: Final = "_last_checkpoint"
_DIGITS: Final = 20
"""Digits of a version in a file's name."""


class Damage(NamedTuple):
    """A damaged file: its path in the table's folder, its state, and its version if it is a log entry."""

    file: str
    state: State
    version: int | None = None


def refuse_new_damage(folder: Path, handle: DeltaTable, what: str) -> None:
    """Check what was added to a table since this process last checked it; the first time, everything that its newest version depends on.

    Raises:
        PermanentError: a file is damaged. ``what`` names the table in the text.
    """
    key, version = (folder, str(handle.metadata().id)), handle.version()
    known, depends_on = _sound.get(key), _after_checkpoint(folder, version)
    if known is not None and known >= version:
        return
    if known is not None and known + 1 < depends_on:  # maintenance may have removed entries since
        known = None
    first = depends_on if known is None else known + 1
    damages = [damage for entry in range(first, version + 1) for damage in _entry(folder, entry)]
    if known is None and folder.parent.name == "bronze":  # the only copy: entries before a checkpoint count too
        damages += empty_entries(folder, before=first)
    damages = damages or list(_whole(folder, handle) if known is None else _added(folder, first, version))
    if damages and _after_checkpoint(folder, version) > depends_on:  # maintenance removed entries meanwhile, or is doing so
        refuse_new_damage(folder, handle, what)
    elif damages:
        raise _refusal(damages, folder, what)
    else:
        _sound[key] = version


def refuse_empty_entries(folder: Path, what: str) -> None:
    """Check the sizes of all entries of a table's log, also of those before its checkpoint, which nothing else reads.

    Raises:
        PermanentError: an entry is empty. ``what`` names the table in the text.
    """
    if damages := empty_entries(folder):
        raise _refusal(damages, folder, what)


def empty_entries(folder: Path, *, before: int | None = None) -> list[Damage]:
    """List the empty entries of a table's log, in order."""
    with os.scandir(log_of(folder)) as files:
        empty = sorted(int(file.name[:_DIGITS]) for file in files if _is_entry(file.name) and not file.stat().st_size)
    return [
        Damage(f"{LOG}/{entry_file(folder, version).name}", "empty", version) for version in empty if before is None or version < before
    ]


def refuse_damage(folder: Path, what: str) -> None:
    """Check a whole log that delta-rs cannot open.

    Raises:
        PermanentError: a file is damaged. ``what`` names the table in the text.
    """
    if damages := list(damage_of(folder)):
        raise _refusal(damages, folder, what)


def damage_of(folder: Path, *, up_to: int = -1) -> Iterator[Damage]:
    """Yield all damage of a table's log: of the entries from the first that must exist to the last, or ``up_to``, and of checkpoints."""
    if not folder.is_dir():
        return
    log = log_of(folder)
    versions = log_versions(folder) if log.is_dir() else []
    checkpoints = sorted(int(file.name[:_DIGITS]) for file in log.glob("*.checkpoint.parquet"))
    last = max([*versions, up_to])
    if not versions and not checkpoints and any(folder.glob("*/*.parquet")):
        last = max(last, 0)  # a table's first entry is written before its first data file
    # Maintenance removes entries from the oldest on, and only those that a checkpoint replaces.
    oldest = checkpoints[0] + 1 if checkpoints else 0
    for version in range(min([oldest, *versions]), last + 1):
        yield from _entry(folder, version)
    for version in checkpoints:
        file = log / f"{version:0{_DIGITS}}.checkpoint.parquet"
        if (state := _parquet_state(file)) is not None:
            yield Damage(f"{LOG}/{file.name}", state)
    pointed = _pointed_at(log / _CHECKPOINT)
    if pointed is not None and not any(log.glob(f"{pointed:0{_DIGITS}}.checkpoint*.parquet")):
        yield Damage(f"{LOG}/{_CHECKPOINT}", "foreign")


def log_versions(folder: Path) -> list[int]:
    """List the versions of the log's entries, in order."""
    with os.scandir(log_of(folder)) as files:
        return sorted(int(file.name[:_DIGITS]) for file in files if _is_entry(file.name))


def _is_entry(name: str) -> bool:
    return len(name) == _DIGITS + 5 and name.endswith(".json") and name[:_DIGITS].isdecimal()


def entry_state(entry: Path) -> State | None:
    """Return what is wrong with a log entry; ``None`` if nothing is."""
    try:
        content = entry.read_bytes()
    except FileNotFoundError:
        return "missing"
    if not content:
        return "empty"
    try:
        actions_of(content)
    except ValueError:  # JSON's and UTF-8's errors are subclasses
        begun = any(content.startswith(f'{{"{action}"'.encode()) for action in ACTIONS)
        return "torn" if begun or not content.strip(b"\0") else "foreign"
    return None


def remedy(layer: str, table: str, folder: Path) -> str:
    """Return the remedy for a damaged table; only bronze is the sole copy of its rows."""
    if layer == "bronze":
        return "`mg-lakehouse repair bronze` shows what a repair would do, and does it with --yes. Leave the files as they are until then"
    if layer == "gold":
        again = "materializing its days rebuilds it" if table == VENDOR_TOTALS_NAME else "the next build rebuilds it from silver"
        return f"remove the folder {folder}, and {again}"
    if table == REJECTED_ITEMS:
        return f"remove the folder {folder}, and the next run rebuilds it from bronze"
    days = sorted(day.name.partition("=")[2] for day in folder.parent.parent.glob("bronze/*/received_date=*"))
    span = f"--from {days[0]} --to {days[-1]}" if days else "--from FIRST --to LAST"
    # Set-aside rows follow from a whole day, not from one table.
    of_table = "" if table == SET_ASIDE else f"--table {table} "
    return f"remove the folder {folder}, and `mg-lakehouse backfill {of_table}{span}` rebuilds it from bronze"


def _refusal(found: Sequence[Damage], folder: Path, what: str) -> PermanentError:
    first = found[0]
    more = f", and {len(found) - 1:,} more files are damaged" if len(found) > 1 else ""
    return PermanentError(
        f"{what} is damaged: its file {first.file} is {first.state}{more}. To repair it, {remedy(folder.parent.name, folder.name, folder)}."
    )


def _after_checkpoint(folder: Path, version: int) -> int:
    """Return the first version whose entry ``version`` depends on."""
    pointed = _pointed_at(log_of(folder) / _CHECKPOINT)
    return 0 if pointed is None or pointed > version else pointed + 1


def _pointed_at(hint: Path) -> int | None:
    """Return the version of the checkpoint that a hint names; ``None`` if it cannot be read: delta-rs does without it then."""
    try:
        return int(json.loads(hint.read_bytes())["version"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _entry(folder: Path, version: int) -> Iterator[Damage]:
    entry = entry_file(folder, version)
    if (state := entry_state(entry)) is not None:
        yield Damage(f"{LOG}/{entry.name}", state, version)


def _whole(folder: Path, handle: DeltaTable) -> Iterator[Damage]:
    """Yield damage of the data files of a version."""
    files = pl.DataFrame(handle.get_add_actions(flatten=True))
    if files.height:
        yield from _files(folder, files.select("path", "size_bytes").rows())


def _added(folder: Path, first: int, last: int) -> Iterator[Damage]:
    """Yield damage of the data files that some versions added and none of them removed."""
    actions: list[dict[str, Any]] = [
        action for version in range(first, last + 1) for action in actions_of(entry_file(folder, version).read_bytes())
    ]
    removed = {file["path"] for file in files_named(actions, "remove")}
    yield from _files(folder, [(file["path"], file["size"]) for file in files_named(actions, "add") if file["path"] not in removed])


def _files(folder: Path, named: Sequence[tuple[str, int]]) -> Iterator[Damage]:
    for path, size in named:
        try:
            actual = data_file(folder, path).stat().st_size
        except FileNotFoundError:
            yield Damage(path, "missing")
            continue
        if actual != size:
            yield Damage(path, "torn" if actual else "empty")


def _parquet_state(file: Path) -> State | None:
    """Return what is wrong with a Parquet file, judged by its first and last bytes."""
    size = file.stat().st_size
    if not size:
        return "empty"
    with file.open("rb") as content:
        begin = content.read(4)
        content.seek(max(0, size - 4))
        end = content.read(4)
    if begin == end == b"PAR1":
        return None
    return "torn" if begin in {b"PAR1", b"\0\0\0\0"} else "foreign"
