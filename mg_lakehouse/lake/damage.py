"""Damage of a local table: entries of its log and data files that are empty, torn, missing or foreign, as a power cut or a hand leaves them.

delta-rs (1.6.6) takes an entry of 0 bytes for a commit of nothing, goes on from an object that is no action, and says of the others neither which
file nor what to do. So whoever opens a table looks at what came since this process last looked, at sizes and entries and not into data files: about
30 microseconds a file. An object store takes a file whole or not at all, and nothing is looked at there.
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
from mg_lakehouse.location import RECONCILIATION_NAME

__all__ = [
    "Damage",
    "State",
    "damage_of",
    "entry_state",
    "hollow",
    "log_versions",
    "refuse_damage",
    "refuse_hollow",
    "refuse_new_damage",
    "remedy",
]

State = Literal["empty", "torn", "missing", "foreign", "stale"]
"""``stale`` is a checkpoint that was made of a log with a hole."""

_sound: Final[dict[tuple[Path, str], int]] = {}
"""By folder and id, for one may be removed and made anew, the version up to which this process found a table whole."""

_CHECKPOINT: Final = "_last_checkpoint"
_DIGITS: Final = 20
"""Of a version in a file's name."""


class Damage(NamedTuple):
    """A damaged file of a table, by its path in the table's folder, and the log's version that it is of, where it is an entry."""

    file: str
    state: State
    version: int | None = None


def refuse_new_damage(folder: Path, handle: DeltaTable, what: str) -> None:
    """Look at what a table has since this process last looked; the first time at all that its newest version rests on.

    Raises:
        PermanentError: a file is damaged. ``what`` names the table for the sentence.
    """
    key, version = (folder, str(handle.metadata().id)), handle.version()
    known, rests_on = _sound.get(key), _after_checkpoint(folder, version)
    if known is not None and known >= version:
        return
    if known is not None and known + 1 < rests_on:  # maintenance may have removed entries since
        known = None
    first = rests_on if known is None else known + 1
    found = [damage for each in range(first, version + 1) for damage in _entry(folder, each)]
    if known is None and folder.parent.name == "bronze":  # the only copy: what stands before a checkpoint counts too
        found += hollow(folder, before=first)
    found = found or list(_whole(folder, handle) if known is None else _added(folder, first, version))
    if found and _after_checkpoint(folder, version) > rests_on:  # or is doing so
        refuse_new_damage(folder, handle, what)
    elif found:
        raise _refusal(found, folder, what)
    else:
        _sound[key] = version


def refuse_hollow(folder: Path, what: str) -> None:
    """Look at the sizes of all entries of a table's log, those before its checkpoint included, which nobody else reads.

    Raises:
        PermanentError: one is empty. ``what`` names the table for the sentence.
    """
    if found := hollow(folder):
        raise _refusal(found, folder, what)


def hollow(folder: Path, *, before: int | None = None) -> list[Damage]:
    """Empty entries of a table's log, in order."""
    with os.scandir(log_of(folder)) as files:
        empty = sorted(int(file.name[:_DIGITS]) for file in files if _is_entry(file.name) and not file.stat().st_size)
    return [Damage(f"{LOG}/{entry_file(folder, each).name}", "empty", each) for each in empty if before is None or each < before]


def refuse_damage(folder: Path, what: str) -> None:
    """Look at all of a table's log, for delta-rs cannot open it.

    Raises:
        PermanentError: a file is damaged. ``what`` names the table for the sentence.
    """
    if found := list(damage_of(folder)):
        raise _refusal(found, folder, what)


def damage_of(folder: Path, *, up_to: int = -1) -> Iterator[Damage]:
    """All damage of a table's log: entries between the first that must be there and the last, or ``up_to``, and checkpoints."""
    if not folder.is_dir():
        return
    log = log_of(folder)
    versions = log_versions(folder) if log.is_dir() else []
    checkpoints = sorted(int(file.name[:_DIGITS]) for file in log.glob("*.checkpoint.parquet"))
    last = max([*versions, up_to])
    if not versions and not checkpoints and any(folder.glob("*/*.parquet")):
        last = max(last, 0)  # a table's first entry is there before its first data file
    # Maintenance removes entries from the first on, and only those that a checkpoint stands for.
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
    """Versions that the log has entries of, in order."""
    with os.scandir(log_of(folder)) as files:
        return sorted(int(file.name[:_DIGITS]) for file in files if _is_entry(file.name))


def _is_entry(name: str) -> bool:
    return len(name) == _DIGITS + 5 and name.endswith(".json") and name[:_DIGITS].isdecimal()


def entry_state(entry: Path) -> State | None:
    """What is wrong with an entry of a log, ``None`` where nothing is."""
    try:
        content = entry.read_bytes()
    except FileNotFoundError:
        return "missing"
    if not content:
        return "empty"
    try:
        actions_of(content)
    except ValueError:  # JSON's and UTF-8's are such
        begun = any(content.startswith(f'{{"{action}"'.encode()) for action in ACTIONS)
        return "torn" if begun or not content.strip(b"\0") else "foreign"
    return None


def remedy(layer: str, table: str, folder: Path) -> str:
    """What puts a damaged table right; only bronze is the only copy of what it holds."""
    if layer == "bronze":
        return "`mg-lakehouse repair bronze` says what a repair would do, and does it with --yes. Leave the files as they are until then"
    if layer == "gold":
        again = "materializing its days makes it anew" if table == RECONCILIATION_NAME else "the next build makes it anew from silver"
        return f"remove the folder {folder}, and {again}"
    if table == REJECTED_ITEMS:
        return f"remove the folder {folder}, and the next run makes it anew from bronze"
    days = sorted(day.name.partition("=")[2] for day in folder.parent.parent.glob("bronze/*/received_date=*"))
    span = f"--from {days[0]} --to {days[-1]}" if days else "--from FIRST --to LAST"
    # What is set aside follows from a day as a whole.
    of_table = "" if table == SET_ASIDE else f"--table {table} "
    return f"remove the folder {folder}, and `mg-lakehouse backfill {of_table}{span}` makes it anew from bronze"


def _refusal(found: Sequence[Damage], folder: Path, what: str) -> PermanentError:
    first = found[0]
    more = f", and {len(found) - 1:,} more files are damaged" if len(found) > 1 else ""
    return PermanentError(
        f"{what} is damaged: its file {first.file} is {first.state}{more}. To repair it, {remedy(folder.parent.name, folder.name, folder)}."
    )


def _after_checkpoint(folder: Path, version: int) -> int:
    """The first version whose entry a version rests on."""
    pointed = _pointed_at(log_of(folder) / _CHECKPOINT)
    return 0 if pointed is None or pointed > version else pointed + 1


def _pointed_at(hint: Path) -> int | None:
    """The version of the checkpoint that a hint names; delta-rs goes without where it cannot be read."""
    try:
        return int(json.loads(hint.read_bytes())["version"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _entry(folder: Path, version: int) -> Iterator[Damage]:
    entry = entry_file(folder, version)
    if (state := entry_state(entry)) is not None:
        yield Damage(f"{LOG}/{entry.name}", state, version)


def _whole(folder: Path, handle: DeltaTable) -> Iterator[Damage]:
    """Damage of the data files of a version."""
    files = pl.DataFrame(handle.get_add_actions(flatten=True))
    if files.height:
        yield from _files(folder, files.select("path", "size_bytes").rows())


def _added(folder: Path, first: int, last: int) -> Iterator[Damage]:
    """Damage of the data files that some versions added and none of them removed."""
    actions: list[dict[str, Any]] = [
        action for each in range(first, last + 1) for action in actions_of(entry_file(folder, each).read_bytes())
    ]
    removed = {each["path"] for each in files_named(actions, "remove")}
    yield from _files(folder, [(each["path"], each["size"]) for each in files_named(actions, "add") if each["path"] not in removed])


def _files(folder: Path, named: Sequence[tuple[str, int]]) -> Iterator[Damage]:
    for path, size in named:
        try:
            there = data_file(folder, path).stat().st_size
        except FileNotFoundError:
            yield Damage(path, "missing")
            continue
        if there != size:
            yield Damage(path, "torn" if there else "empty")


def _parquet_state(file: Path) -> State | None:
    """What is wrong with a Parquet file by its first and last bytes."""
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
