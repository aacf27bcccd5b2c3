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
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, Final

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse._util.progress import Step, remark, report_step
from mg_lakehouse.errors import LakehouseError, TransientError
from mg_lakehouse.lake.commit_log import commit_at, commits_of
from mg_lakehouse.lake.errors import store_error
from mg_lakehouse.lake.file_stats import coarsened, data_files, meets, within
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.location import address_of
from mg_lakehouse.silver.id_entries import EMPTY, ENTRY_BYTES, Run, cover, distinct, entries_of, hours_of_known, keys_of, spans_of, taken_in
from mg_lakehouse.silver.id_files import IdFiles

__all__ = ["KnownIds", "keys_of", "known_ids"]

_FEW_SPANS: Final = 8
"""Time spans in the row filter, at most. Each span is tested on every row that a chosen row group may hold: 64 of them cost a micro-batch 3 s of CPU."""

_READ_AT_ONCE: Final = 2_000_000
"""Rows whose ids are read at once from a table that has no known ids yet, but for a file that has more."""

_HASHED_AT_ONCE: Final = 200_000
_WORTH_SAYING: Final = 1_000_000

_PART: Final = "part-"
"""How the names of files begin that have the ids of some data files, while a table's ids are read for the first time."""


@dataclass(slots=True)
class KnownIds:
    """What is known of a table's ids at a version of a handle: in ``runs``, and in ``loose`` columns that are in no file yet."""

    lake: Lake
    handle: DeltaTable
    version: int
    files: IdFiles
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
            columns = [*self.loose, *(self.files.near(run, ordered) for run in self.runs)]
        except FileNotFoundError as error:
            raise TransientError(f"The known ids of silver/{self.files.table} were merged by another run: try again.") from error
        found = pl.concat([hours_of_known(column, ordered) for column in (EMPTY, *columns)])
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
            entries = self.files.write([*self.loose, *map(self.files.of_run, taken)], lambda count: run(count).name)
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
    files = IdFiles(lake, table, str(handle.metadata().id))
    sizes = files.sizes()
    runs = cover(run for name, size in sizes.items() if (run := Run.of_file(name, size)) is not None)
    known = KnownIds(lake, handle, handle.version(), files, runs, superseded=sizes.keys() - {run.name for run in runs})
    # A table that was restored from a backup has other commits of the same versions, or none.
    if not runs or _committed_ms(handle, runs[-1].last) != runs[-1].at or (since := _added_since(handle, runs[-1].last)) is None:
        known.runs, known.loose = [], list(_all_ids(known, sizes, write=write))
        known.superseded = files.sizes().keys()  # what was written of some data files is in the run of all
    else:
        known.loose = (since,)
    if write and any(map(len, known.loose)):
        known.write()
    return known


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
        return EMPTY
    # Where entries are gone, a change feed may have no rows and no error.
    if sum(1 for _ in takewhile(lambda commit: int(commit["version"]) > version, commits_of(handle))) < newer:
        return None
    try:
        stream: Any = handle.load_cdf(version + 1, handle.version(), columns=["activity_id", "event_at"], allow_out_of_range=True)
        return distinct([entries_of(keys_of(rows["activity_id"]), rows["event_at"]) for rows in map(pl.DataFrame, stream)])
    except Exception as error:  # a stream of delta-rs raises a bare Exception for any failure
        if isinstance(failure := store_error(error, f"The change feed of silver/{handle.metadata().name}"), TransientError):
            raise failure from error
        return None


def _all_ids(known: KnownIds, sizes: Mapping[str, int], *, write: bool) -> Iterator[pl.Series]:
    """Yield the entries of the whole table. Those of some data files at a time are written: a run that was killed is gone on with."""
    files = known.files
    if write:
        files.remove_others()
        files.remove([name for name in sizes if not name.startswith(_PART)])  # where they stayed, a later look might take them for true
    data = data_files(known.handle).sort("address").select("address", pl.col("rows").fill_null(0))
    total, done = int(data["rows"].sum()), 0
    if total >= _WORTH_SAYING:
        remark(f"silver/{files.table}: the ids of its {total:,} rows are read, once, so that a copy is known however old its row is.")
    for addresses, count in _groups(data):
        part = f"{_PART}{hashlib.blake2b(repr(addresses).encode(), digest_size=16).hexdigest()}"
        column = _read_part(files, part, sizes)
        if column is None:
            rows = known.lake.scan(addresses, known.handle).select("activity_id", "event_at").collect(engine="streaming")
            column = distinct([entries_of(keys_of(some["activity_id"]), some["event_at"]) for some in rows.iter_slices(_HASHED_AT_ONCE)])
            if write and count < total:
                written = f"{part}-{len(column)}"
                files.write([column], lambda _, name=written: name)  # type: ignore[misc]
                column = _read_part(files, part, {written: len(column) * ENTRY_BYTES})  # from the disk, so that memory stays bounded
                assert column is not None
        yield column
        done += count
        if total >= _WORTH_SAYING:
            report_step(Step(f"ids of silver/{files.table}", done, "rows"))


def _read_part(files: IdFiles, part: str, sizes: Mapping[str, int]) -> pl.Series | None:
    """Return the entries that were written of some data files; ``None`` if there are none."""
    for name, size in sizes.items():
        if name == f"{part}-{size // ENTRY_BYTES}":
            return files.read(name, size)
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
