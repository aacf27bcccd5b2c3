"""The known ids of a silver table: which activity ids it has, and in which hour their events occurred, however long ago.

So a row whose id is new is known to be new without a look into the table, and a copy is found wherever its row is. The cost follows the batch: a look
is a binary search in a few sorted files that are mapped into memory, and only where an id is known are rows read, those of its hour.

An id is one number of 64 bits: 42 of its hash and 22 of the hour (:func:`entries_of`). Files of such numbers, sorted, lie in ``_known_ids`` beside the
table's log (:mod:`mg_lakehouse.lake.side_files`). Each has what some versions of the table added, and its name says which, as ``<first>-<last>``, and
when the last of them was committed. They are derived from the table and never trusted beyond it:

* The table is written first. Versions that no file has are read from the change feed, by whoever looks next: a run may be killed anywhere.
* Files may name rows that the table no longer has, and two ids may share a hash: a known id only means that the table is read.
* A file that is of another table, or of a version that the log does not have as it says, is removed, and all ids are read anew, once.

Each commit writes one small file. It takes in the files before it that are not several times larger, so there are few of them, and each number is
written a few times in all.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import takewhile
from math import isqrt
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from mg_lakehouse._util.dates import FIRST_MOMENT, LAST_MOMENT
from mg_lakehouse._util.progress import Step, remark, report_step
from mg_lakehouse._util.user_folders import own_folder_in, xdg_folder
from mg_lakehouse.errors import LakehouseError, TransientError
from mg_lakehouse.events.schemas import TIMESTAMP
from mg_lakehouse.lake.commit_log import commit_at, commits_of
from mg_lakehouse.lake.errors import store_error
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.file_stats import Span, coarsened, data_files, meets, spans_around, within
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.side_files import SideFiles, drafted
from mg_lakehouse.location import address_of

__all__ = ["FOLDER", "KnownIds", "known_ids"]

FOLDER: Final = "_known_ids"

_HOUR_BITS: Final = 22
"""Hours since 1900: enough up to 2378. The other 42 bits are of the id's hash: of 10,000 new ids in a table of 100 M rows, one in four batches has one that
looks known, which costs a read of an hour."""

_LAST_HOUR: Final = 2**_HOUR_BITS - 1
_BEGIN: Final = datetime(1900, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)

_TAKES_IN: Final = 4
"""A new file takes in the one before it where that is at most this many times larger: 100 M ids are in seven files at most, and each is written five times."""

_SMALL: Final = 8_192
"""Ids in a file that is rewritten with each commit: 64 KiB."""

_FEW_SPANS: Final = 8
"""Time spans in the row filter, at most. Each span is tested on every row that a chosen row group may hold: 64 of them cost a micro-batch 3 s of CPU."""

_READ_AT_ONCE: Final = 2_000_000
"""Rows whose ids are read at once from a table that has no known ids yet, but for a file that has more."""
_HASHED_AT_ONCE: Final = 200_000
_MERGED_AT_ONCE: Final = 4_000_000
_WORTH_SAYING: Final = 1_000_000

_HELD_BYTES: Final = 2**20
"""Larger files of a store are kept on this machine's disk, not in memory."""
_FEW_IDS: Final = 32
"""So few ids are looked for in ranges of a large file of a store; for more, it is downloaded."""

_NAME: Final = re.compile(r"(\d+)-(\d+)-(\d+)-(\d+)\.ids1")
_PART: Final = "part-"
"""How the names of files begin that have the ids of some data files, while a table's ids are read for the first time."""
_ENTRY_BYTES: Final = 8
_EMPTY: Final = pl.Series("entry", dtype=pl.UInt64)


class Run(NamedTuple):
    """A file of sorted entries: what the versions ``first`` to ``last`` of the table added. ``at`` is when the last was committed, in ms, ``entries`` how many it has."""

    first: int
    last: int
    at: int
    entries: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.first}-{self.last}-{self.at}-{self.entries}.ids1"


def keys_of(ids: pl.Series) -> pl.Series:
    """Return the key of each id: 42 bits of its hash, and 22 that are not set."""
    blake = hashlib.blake2b
    digests = b"".join([blake(each.encode(), digest_size=8).digest() for each in ids.to_list()])
    return pl.Series("entry", np.frombuffer(digests, "<u8") >> _HOUR_BITS << _HOUR_BITS)


def entries_of(keys: pl.Series, event_at: pl.Series) -> pl.Series:
    """Return the entries of rows, sorted and each once: the key, and the hour of the event, cut to the hours that there are."""
    hours = (event_at.cast(TIMESTAMP).to_physical() - _micros(_BEGIN)) // (_HOUR // timedelta(microseconds=1))
    return _sorted([keys | hours.clip(0, _LAST_HOUR).cast(pl.UInt64)])


def cover(runs: Iterable[Run]) -> list[Run]:
    """Return the fewest runs, in order, that have all versions from the table's first on, as far as they go."""
    runs, chosen, following = list(runs), [], 0
    while (best := max((run for run in runs if run.first <= following <= run.last), key=lambda run: run.last, default=None)) is not None:
        chosen.append(best)
        following = best.last + 1
    return chosen


def taken_in(runs: Sequence[Run], count: int) -> list[Run]:
    """Return which of the newest runs a new one of ``count`` entries takes in."""
    taken: list[Run] = []
    for run in reversed(runs):
        if run.entries > _TAKES_IN * count and run.entries + count > _SMALL:
            break
        taken.append(run)
        count += run.entries
    return taken


def merged(columns: Sequence[pl.Series]) -> Iterator[pl.Series]:
    """Yield the entries of sorted columns in order, each once, in pieces of bounded size: the entries of a range of hashes are merged at a time."""
    pieces = 1 + sum(map(len, columns)) // _MERGED_AT_ONCE
    bounds = pl.Series([piece * 2**64 // pieces for piece in range(1, pieces)], dtype=pl.UInt64)
    cuts = [[0, *column.search_sorted(bounds), len(column)] for column in columns]
    for piece in range(pieces):
        yield _sorted([column.slice(cut[piece], cut[piece + 1] - cut[piece]) for column, cut in zip(columns, cuts, strict=True)])


def hours_of_known(column: pl.Series, keys: pl.Series) -> pl.DataFrame:
    """Return the hours of those sorted keys that a sorted column has: ``place`` in ``keys`` and ``hour``. A key may have several."""
    entries, asked = column.to_numpy(), keys.to_numpy()  # both without a copy; half a dozen steps of Polars took longer than the search
    first = column.search_sorted(keys).to_numpy()
    places = np.flatnonzero(entries.take(first, mode="clip") <= (asked | _LAST_HOUR)) if len(entries) else np.empty(0, np.int64)
    places = places[first[places] < len(entries)]
    counts = np.searchsorted(entries, asked[places] | _LAST_HOUR, side="right") - first[places]
    at = np.repeat(first[places], counts) + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return pl.DataFrame(
        {"place": np.repeat(places, counts), "hour": entries[at] & _LAST_HOUR}, schema={"place": pl.Int64, "hour": pl.UInt64}
    )


def spans_of(hours: pl.Series) -> list[Span]:
    """Return the spans of time of some hours, merged where they meet. The first and the last hour have all that is before and after."""
    middles = pl.Series((hours.cast(pl.Int64) * 2 + 1) * (_HOUR // timedelta(microseconds=2)) + _micros(_BEGIN)).cast(TIMESTAMP)
    spans = spans_around(middles, _HOUR / 2)
    if spans and hours.min() == 0:
        spans[0] = (FIRST_MOMENT, spans[0][1])
    if spans and hours.max() == _LAST_HOUR:
        spans[-1] = (spans[-1][0], LAST_MOMENT)
    return spans


@dataclass(slots=True)
class KnownIds:
    """What is known of a table's ids at a version of a handle: in ``runs``, and in ``loose`` columns that are in no file yet."""

    lake: Lake
    handle: DeltaTable
    version: int
    files: SideFiles
    runs: list[Run]
    loose: Sequence[pl.Series] = ()
    superseded: Collection[str] = ()

    def rows(self, ids: pl.Series, keys: pl.Series | None = None, *, but: Collection[str] = ()) -> pl.LazyFrame | None:
        """Return the table's rows with some activity ids, ``None`` if it has none.

        Args:
            ids: the ids.
            keys: their keys, where the caller has them.
            but: addresses of data files to leave out.

        Raises:
            OSError, TransientError: what is known cannot be read.
        """
        known = self.hours(keys_of(ids) if keys is None else keys)
        if known.is_empty():
            return None
        spans = spans_of(known["hour"])
        near = data_files(self.handle, "event_at").filter(meets("event_at", spans))["address"]
        chosen = [file for file in near if file not in but]
        if not chosen:
            return None
        wanted = pl.LazyFrame({"activity_id": ids.gather(known["place"]).unique()})
        rows = self.lake.scan(chosen, self.handle).filter(within("event_at", coarsened(spans, _FEW_SPANS)))
        return rows.join(wanted, on="activity_id", how="semi")

    def hours(self, keys: pl.Series) -> pl.DataFrame:
        """Return which of some keys the table may have, and in which hours: ``place`` in ``keys`` and ``hour``.

        Raises:
            OSError, TransientError: what is known cannot be read.
        """
        order = keys.arg_sort()
        ordered = keys.gather(order)
        try:
            columns = [*self.loose, *(_near(self.files, run, ordered) for run in self.runs)]
        except FileNotFoundError as error:
            raise TransientError(f"The known ids of silver/{self.files.table} were merged by another run: try again.") from error
        found = pl.concat([hours_of_known(column, ordered) for column in (_EMPTY, *columns)])
        return found.with_columns(order.gather(found["place"]).alias("place"))

    def add(self, keys: pl.Series, event_at: pl.Series) -> None:
        """Write the ids of rows that were just committed through the handle, for the next look."""
        if self.handle.version() == self.version + 1:  # else another's commit came between: the change feed has both
            self.loose = (*self.loose, entries_of(keys, event_at))
            self.version += 1
            self.write()

    def write(self) -> None:
        """Write what is loose, and remove files that were taken in long since. A failure has no consequence but work: the next look reads it again."""
        with suppress(OSError, LakehouseError):
            at = _committed_ms(self.handle, self.version)
            if at is None or self.version < _following(self.runs):
                return
            taken = taken_in(self.runs, sum(map(len, self.loose)))
            kept = self.runs[: len(self.runs) - len(taken)]
            run = partial(Run, _following(kept), self.version, at)
            entries = _store(self.files, [*self.loose, *(_column(self.files, each) for each in taken)], lambda count: run(count).name)
            self.runs, self.loose = [*kept, run(entries)], ()
            self.files.remove(self.superseded)


def known_ids(lake: Lake, handle: DeltaTable, *, write: bool = True) -> KnownIds:
    """Return what is known of the ids of a silver table, at least up to the version of a handle.

    Args:
        lake: the lake.
        handle: the table.
        write: write for the next look rows that no file has; otherwise it is kept in memory, eight bytes a row.

    Raises:
        OSError, TransientError, DeltaError, PolarsError: the ids or the table cannot be read.
    """
    table = address_of(handle.table_uri).rstrip("/").rsplit("/", 1)[-1]
    files = SideFiles(lake, "silver", table, f"{FOLDER}/{handle.metadata().id}")
    sizes = files.sizes()
    _forget_all_but(files, sizes)
    whole = (run for name, size in sizes.items() if (run := _run_of(name)) is not None and size == run.entries * _ENTRY_BYTES)
    runs = cover(whole)
    known = KnownIds(lake, handle, handle.version(), files, runs, superseded=sizes.keys() - {run.name for run in runs})
    # A table that was restored from a backup has other commits of the same versions, or none.
    if not runs or _committed_ms(handle, runs[-1].last) != runs[-1].at or (since := _added_since(handle, runs[-1].last)) is None:
        known.runs, known.superseded, known.loose = [], sizes.keys(), list(_all_ids(known, sizes, write=write))
    else:
        known.loose = (since,)
    if write and any(map(len, known.loose)):
        known.write()
    return known


def _run_of(name: str) -> Run | None:
    found = _NAME.fullmatch(name)
    return None if found is None else Run(*map(int, found.groups()))


def _following(runs: Sequence[Run]) -> int:
    """Return the first version that runs do not have."""
    return runs[-1].last + 1 if runs else 0


def _committed_ms(handle: DeltaTable, version: int) -> int | None:
    """Return when a version was committed, in ms; ``None`` if the log does not say."""
    commit = commit_at(handle, version)
    return None if commit is None else commit.get("timestamp")


def _added_since(handle: DeltaTable, version: int) -> pl.Series | None:
    """Return the entries of the rows that a table got since a version; ``None`` if its log or its files do not tell any more.

    Raises:
        TransientError: the store did not answer.
    """
    newer = handle.version() - version
    if newer <= 0:
        return _EMPTY
    # Where entries are gone, a change feed may have no rows and no error.
    if sum(1 for _ in takewhile(lambda commit: int(commit["version"]) > version, commits_of(handle))) < newer:
        return None
    try:
        stream: Any = handle.load_cdf(version + 1, handle.version(), columns=["activity_id", "event_at"], allow_out_of_range=True)
        return _sorted([entries_of(keys_of(rows["activity_id"]), rows["event_at"]) for rows in map(pl.DataFrame, stream)])
    except Exception as error:  # a stream of delta-rs raises a bare Exception for any failure
        if isinstance(failure := store_error(error, f"The change feed of silver/{handle.metadata().name}"), TransientError):
            raise failure from error
        return None


def _all_ids(known: KnownIds, sizes: Mapping[str, int], *, write: bool) -> Iterator[pl.Series]:
    """Yield the entries of the whole table. Those of some data files at a time are written: a run that was killed is gone on with."""
    files = known.files
    if write:
        _remove_untrusted(files, sizes)
    data = data_files(known.handle).sort("address").select("address", pl.col("rows").fill_null(0))
    total, done = int(data["rows"].sum()), 0
    if total >= _WORTH_SAYING:
        remark(f"silver/{files.table}: the ids of its {total:,} rows are read, once, so that a copy is known however old its row is.")
    for addresses, count in _groups(data):
        part = f"{_PART}{hashlib.blake2b(repr(addresses).encode(), digest_size=16).hexdigest()}"
        column = _read_part(files, part, sizes)
        if column is None:
            rows = known.lake.scan(addresses, known.handle).select("activity_id", "event_at").collect(engine="streaming")
            column = _sorted([entries_of(keys_of(some["activity_id"]), some["event_at"]) for some in rows.iter_slices(_HASHED_AT_ONCE)])
            if write and count < total:
                written = f"{part}-{len(column)}"
                _store(files, [column], lambda _, name=written: name)  # type: ignore[misc]
                column = _read_part(files, part, {written: len(column) * _ENTRY_BYTES})  # from the disk, so that memory stays bounded
                assert column is not None
        yield column
        done += count
        if total >= _WORTH_SAYING:
            report_step(Step(f"ids of silver/{files.table}", done, "rows"))


def _remove_untrusted(files: SideFiles, sizes: Mapping[str, int]) -> None:
    """Remove the files of other tables of this name, and those that are not trusted: where they stayed, a later look might take them for true."""
    own = Path(files.folder).name
    every = SideFiles(files.lake, files.layer, files.table, FOLDER)
    every.remove([name for name in every.sizes() if not name.startswith(f"{own}/")])
    files.remove([name for name in sizes if not name.startswith(_PART)])


def _read_part(files: SideFiles, part: str, sizes: Mapping[str, int]) -> pl.Series | None:
    """Return the entries that were written of some data files; ``None`` if there are none."""
    for name, size in sizes.items():
        if name == f"{part}-{size // _ENTRY_BYTES}":
            return _read(files, name, size)
    return None


def _groups(data: pl.DataFrame) -> Iterator[tuple[list[str], int]]:
    """Yield the addresses of data files that are read together, and their rows."""
    addresses: list[str] = []
    count = 0
    for address, rows in data.iter_rows():
        addresses.append(address)
        count += rows
        if count >= _READ_AT_ONCE:
            yield addresses, count
            addresses, count = [], 0
    if addresses:
        yield addresses, count


def _sorted(columns: Sequence[pl.Series]) -> pl.Series:
    entries = np.sort(np.concatenate([_EMPTY, *columns]))  # np.unique takes four times as long
    return pl.Series("entry", entries[np.diff(entries, prepend=~entries[:1]) != 0])


def _micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


_held: Final[dict[str, dict[str, pl.Series]]] = {}
"""Columns that this process has read or mapped into memory, by folder and name: what a name says never changes."""


def _forget_all_but(files: SideFiles, names: Collection[str]) -> None:
    """Let go of what was read of files that are gone, and remove what this machine keeps of them."""
    held = _held.setdefault(_address(files), {})
    for name in held.keys() - names:
        del held[name]
    if files.local is None and (kept := _kept_in(files)).is_dir():
        for file in kept.iterdir():
            if file.name not in names and not file.name.startswith("."):
                file.unlink(missing_ok=True)


def _address(files: SideFiles) -> str:
    return f"{files.lake.uri_of(files.layer, files.table)}/{files.folder}"


def _kept_in(files: SideFiles) -> Path:
    """Return the folder of this machine for a table's files: their own, or that for what is downloaded of a store, which may not be there yet.

    Raises:
        OSError: there is no folder that can be written.
    """
    if files.local is not None:
        return files.local
    cache = xdg_folder("XDG_CACHE_HOME", "mg-lakehouse")
    if cache is None or not os.access(next(above for above in (cache, *cache.parents) if above.exists()), os.W_OK | os.X_OK):
        cache = own_folder_in(Path(tempfile.gettempdir()), "mg-lakehouse-cache")
    return cache / "known-ids" / Path(files.folder).name


def _store(files: SideFiles, columns: Sequence[pl.Series], name_of: Callable[[int], str]) -> int:
    """Write the entries of columns to a file, each once, and return how many there are. Their number gives the file its name."""
    if files.local is None and sum(map(len, columns)) * _ENTRY_BYTES <= _HELD_BYTES:
        column = _sorted(columns)
        entries = len(column)
        name = name_of(entries)
        files.put(name, _bytes_of(column))
        _held.setdefault(_address(files), {})[name] = column
    else:
        draft = drafted(_kept_in(files), map(_bytes_of, merged(columns)))
        entries = draft.stat().st_size // _ENTRY_BYTES
        name = name_of(entries)
        if files.local is None:
            files.put(name, draft)
        draft.replace(draft.with_name(name))
    reached(Failpoint.IDS_WRITTEN, f"silver/{files.table}")
    return entries


def _bytes_of(column: pl.Series) -> bytes:
    return column.to_numpy().astype("<u8", copy=False).tobytes()


def _column(files: SideFiles, run: Run) -> pl.Series:
    return _read(files, run.name, run.entries * _ENTRY_BYTES)


def _read(files: SideFiles, name: str, size: int) -> pl.Series:
    """Return the entries of a file.

    Raises:
        FileNotFoundError: there is none.
    """
    held = _held.setdefault(_address(files), {})
    if name not in held:
        if files.local is None and size <= _HELD_BYTES:
            held[name] = _as_column(pa.py_buffer(b"".join(files.chunks(name))))
        elif size == 0:
            held[name] = _EMPTY
        else:
            file = _kept_in(files) / name
            if files.local is None and not file.exists():
                drafted(file.parent, files.chunks(name)).replace(file)
            held[name] = _as_column(pa.memory_map(str(file)).read_buffer())
    return held[name]


def _as_column(buffer: pa.Buffer) -> pl.Series:
    return pl.Series("entry", pa.Array.from_buffers(pa.uint64(), buffer.size // _ENTRY_BYTES, [None, buffer]))


def _near(files: SideFiles, run: Run, keys: pl.Series) -> pl.Series:
    """Return the entries of a file, or at least those of some sorted keys: for a few keys, a large file of a store is not downloaded."""
    large = files.local is None and run.entries * _ENTRY_BYTES > _HELD_BYTES
    if large and len(keys) <= _FEW_IDS and run.name not in _held[_address(files)] and not (_kept_in(files) / run.name).exists():
        return _in_ranges(files, run, keys)
    return _column(files, run)


def _in_ranges(files: SideFiles, run: Run, keys: pl.Series) -> pl.Series:
    """Read the entries near where those of keys must be: hashes are spread evenly, and of n the place is off by more than 3 sqrt(n) once in a billion."""
    margin = 3 * isqrt(run.entries) + 64
    bounds: list[tuple[int, int]] = []
    for key in keys:
        place = key * run.entries >> 64
        low, high = max(0, place - margin), min(run.entries, place + margin)
        if bounds and low <= bounds[-1][1]:
            low = bounds.pop()[0]
        bounds.append((low, high))
    starts, ends = ([at * _ENTRY_BYTES for at in side] for side in zip(*bounds, strict=True))
    parts = [_as_column(pa.py_buffer(part)) for part in files.read_ranges(run.name, starts, ends)]
    for key in keys:
        low, high, part = next(
            (*bound, part) for bound, part in zip(bounds, parts, strict=True) if bound[0] <= key * run.entries >> 64 <= bound[1]
        )
        if (low > 0 and part[0] > key) or (high < run.entries and part[-1] <= key | _LAST_HOUR):
            return _column(files, run)
    return pl.concat(parts)
