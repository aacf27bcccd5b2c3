"""The files of a silver table's known ids: written whole, mapped into memory, read in ranges.

On a local lake a file is mapped where it lies. Of a lake in a store, small files are held in memory, and large ones in the user's cache folder. What a
file's name says never changes, so what was read of one is good as long as the file is listed. :mod:`mg_lakehouse.silver.known_ids` says what is in them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa

from mg_lakehouse._util.user_folders import own_folder_in, xdg_folder
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.side_files import SideFiles, drafted
from mg_lakehouse.silver.id_entries import EMPTY, ENTRY_BYTES, Run, distinct, greatest_of, merged

__all__ = ["FOLDER", "IdFiles"]

FOLDER: Final = "_known_ids"

_HELD_BYTES: Final = 2**20
"""Larger files of a store are kept on this machine's disk, not in memory."""

_FEW_IDS: Final = 32
"""So few ids are looked for in ranges of a large file of a store; for more, it is downloaded."""

_held: Final[dict[str, dict[str, pl.Series]]] = {}
"""Columns that this process has read or mapped into memory, by folder and name."""


@dataclass(frozen=True, slots=True)
class IdFiles:
    """The files of a table of some id. All methods raise OSError where the store or the disk fails, and FileNotFoundError where a file is gone."""

    lake: Lake
    table: str
    table_id: str

    @property
    def _side(self) -> SideFiles:
        return SideFiles(self.lake, "silver", self.table, f"{FOLDER}/{self.table_id}")

    @property
    def _held(self) -> dict[str, pl.Series]:
        return _held.setdefault(f"{self.lake.uri_of('silver', self.table)}/{self.table_id}", {})

    @property
    def _kept_in(self) -> Path:
        """The folder of this machine for the files: their own, or that for what is downloaded of a store, which may not be there yet."""
        if (local := self._side.local) is not None:
            return local
        cache = xdg_folder("XDG_CACHE_HOME", "mg-lakehouse")
        if cache is None or not os.access(next(above for above in (cache, *cache.parents) if above.exists()), os.W_OK | os.X_OK):
            cache = own_folder_in(Path(tempfile.gettempdir()), "mg-lakehouse-cache")
        return cache / "known-ids" / self.table_id

    def sizes(self) -> dict[str, int]:
        """List the files with their bytes, and let go of what was read of others, in memory and on this machine."""
        sizes = self._side.sizes()
        for name in self._held.keys() - sizes:
            del self._held[name]
        if not self.lake.is_local and (kept := self._kept_in).is_dir():
            for file in kept.iterdir():
                if file.name not in sizes and not file.name.startswith("."):
                    file.unlink(missing_ok=True)
        return sizes

    def write(self, columns: Sequence[pl.Series], name_of: Callable[[int], str]) -> int:
        """Write the entries of sorted columns to a file, each once, and return how many there are. Their number gives the file its name."""
        if not self.lake.is_local and sum(map(len, columns)) * ENTRY_BYTES <= _HELD_BYTES:
            column = distinct(columns)
            entries = len(column)
            self._side.put(name_of(entries), _bytes_of(column))
            self._held[name_of(entries)] = column
        else:
            draft = drafted(self._kept_in, map(_bytes_of, merged(columns)))
            entries = draft.stat().st_size // ENTRY_BYTES
            if not self.lake.is_local:
                self._side.put(name_of(entries), draft)
            draft.replace(draft.with_name(name_of(entries)))
        reached(Failpoint.IDS_WRITTEN, f"silver/{self.table}")
        return entries

    def read(self, name: str, size: int) -> pl.Series:
        """Return the entries of a file of ``size`` bytes."""
        held = self._held
        if name not in held:
            if size == 0:
                held[name] = EMPTY
            elif not self.lake.is_local and size <= _HELD_BYTES:
                held[name] = _as_column(pa.py_buffer(b"".join(self._side.chunks(name))))
            else:
                file = self._kept_in / name
                if not self.lake.is_local and not file.exists():
                    drafted(file.parent, self._side.chunks(name)).replace(file)
                held[name] = _as_column(pa.memory_map(str(file)).read_buffer())
        return held[name]

    def of_run(self, run: Run) -> pl.Series:
        """Return the entries of a run."""
        return self.read(run.name, run.entries * ENTRY_BYTES)

    def near(self, run: Run, keys: pl.Series) -> pl.Series:
        """Return the entries of a run, or at least those of some sorted keys: for a few keys, a large file of a store is not downloaded."""
        large = not self.lake.is_local and run.entries * ENTRY_BYTES > _HELD_BYTES
        if large and 0 < len(keys) <= _FEW_IDS and run.name not in self._held and not (self._kept_in / run.name).exists():
            return self._in_ranges(run, keys)
        return self.of_run(run)

    def _in_ranges(self, run: Run, keys: pl.Series) -> pl.Series:
        """Read the entries near where those of keys must be: hashes are spread evenly, and of n a place is off by more than 3 sqrt(n) once in a billion."""
        margin = 3 * isqrt(run.entries) + 64
        places = [key * run.entries >> 64 for key in keys]
        bounds: list[tuple[int, int]] = []
        for place in places:
            low, high = max(0, place - margin), min(run.entries, place + margin)
            if bounds and low <= bounds[-1][1]:
                low = bounds.pop()[0]
            bounds.append((low, high))
        starts, ends = ([at * ENTRY_BYTES for at in side] for side in zip(*bounds, strict=True))
        parts = [_as_column(pa.py_buffer(part)) for part in self._side.read_ranges(run.name, starts, ends)]
        for key, place in zip(keys, places, strict=True):
            low, high, part = next((*bound, part) for bound, part in zip(bounds, parts, strict=True) if bound[0] <= place <= bound[1])
            if (low > 0 and part[0] > key) or (high < run.entries and part[-1] <= greatest_of(key)):
                return self.of_run(run)
        return pl.concat(parts)

    def remove(self, names: Collection[str]) -> None:
        """Remove files; those that are gone already are no error."""
        self._side.remove(names)

    def remove_others(self) -> None:
        """Remove the files of other tables that had this table's name."""
        every = SideFiles(self.lake, "silver", self.table, FOLDER)
        every.remove([name for name in every.sizes() if not name.startswith(f"{self.table_id}/")])


def _bytes_of(column: pl.Series) -> bytes:
    return column.to_numpy().astype("<u8", copy=False).tobytes()


def _as_column(buffer: pa.Buffer) -> pl.Series:
    return pl.Series("entry", pa.Array.from_buffers(pa.uint64(), buffer.size // ENTRY_BYTES, [None, buffer]))
