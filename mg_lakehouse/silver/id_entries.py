"""Activity ids as numbers of 64 bits: pure functions on sorted columns of such entries, and on the runs of versions that files of them have.

An entry is 42 bits of the id's hash and 22 of the hour in which the event occurred. :mod:`mg_lakehouse.silver.known_ids` says what they are for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from mg_lakehouse._util.dates import FIRST_MOMENT, LAST_MOMENT
from mg_lakehouse.events.schemas import TIMESTAMP
from mg_lakehouse.lake.file_stats import Span, spans_around

__all__ = [
    "EMPTY",
    "ENTRY_BYTES",
    "Run",
    "cover",
    "distinct",
    "entries_of",
    "first_places",
    "greatest_of",
    "hours_of_known",
    "keys_of",
    "merged",
    "spans_of",
    "taken_in",
]

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

_MERGED_AT_ONCE: Final = 4_000_000

_AROUND: Final = 128
"""Entries on both sides of a guess. Of 100 M, the second guess is off by some 50."""

Numbers = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_NAME: Final = re.compile(r"(\d+)-(\d+)-(\d+)-(\d+)\.ids1")

ENTRY_BYTES: Final = 8
EMPTY: Final = pl.Series("entry", dtype=pl.UInt64)
"""No entries."""


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

    @classmethod
    def of_file(cls, name: str, size: int) -> Run | None:
        """Return the run of a file's name, ``None`` if it has another form, or the file is not of the size that its name says."""
        found = _NAME.fullmatch(name)
        run = None if found is None else cls(*map(int, found.groups()))
        return run if run is not None and size == run.entries * ENTRY_BYTES else None


def keys_of(ids: pl.Series) -> pl.Series:
    """Return the key of each id: 42 bits of its hash, and 22 that are not set."""
    blake = hashlib.blake2b
    digests = b"".join([blake(each.encode(), digest_size=8).digest() for each in ids.to_list()])
    return pl.Series("entry", np.frombuffer(digests, "<u8") >> _HOUR_BITS << _HOUR_BITS)


def greatest_of(key: int) -> int:
    """Return the greatest entry that a key's id can have."""
    return key | _LAST_HOUR


def entries_of(keys: pl.Series, event_at: pl.Series) -> pl.Series:
    """Return the entries of rows, sorted and each once: the key, and the hour of the event, cut to the hours that there are."""
    hours = (event_at.cast(TIMESTAMP).to_physical() - _micros(_BEGIN)) // (_HOUR // timedelta(microseconds=1))
    return distinct([keys | hours.clip(0, _LAST_HOUR).cast(pl.UInt64)])


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
        yield distinct([column.slice(cut[piece], cut[piece + 1] - cut[piece]) for column, cut in zip(columns, cuts, strict=True)])


def first_places(entries: Numbers, keys: Numbers) -> Places:
    """Return the place of the first of some sorted entries that is not less than each key.

    Hashes are spread evenly, so a place can be guessed, and the entry there says how far off the guess is. A binary search around it reads one page of a
    large file for each key, and one over all entries five. A place that is farther off is searched in all.
    """
    if not len(entries):
        return np.zeros(len(keys), np.int64)
    share = len(entries) / 2**64
    guess = np.minimum((keys * share).astype(np.int64), len(entries) - 1)
    guess += ((keys - entries[guess]).view(np.int64) * share).astype(np.int64)
    first, last = np.clip(guess - _AROUND, 0, len(entries)), np.clip(guess + _AROUND, 0, len(entries))
    low: Places = first
    high = last
    for _ in range((2 * _AROUND).bit_length()):
        middle = (low + high) >> 1
        less = (entries.take(middle, mode="clip") < keys) & (low < high)
        low, high = np.where(less, middle + 1, low), np.where(less, high, middle)
    off = ((low == first) & (first > 0)) | ((low == last) & (last < len(entries)))
    low[off] = np.searchsorted(entries, keys[off])
    return low


def hours_of_known(column: pl.Series, keys: pl.Series) -> pl.DataFrame:
    """Return the hours of those sorted keys that a sorted column has: ``place`` in ``keys`` and ``hour``. A key may have several."""
    entries, asked = column.to_numpy(), keys.to_numpy()  # both without a copy; half a dozen steps of Polars took longer than the search
    first = first_places(entries, asked)
    places = np.flatnonzero(first < len(entries))
    places = places[entries[first[places]] <= (asked[places] | _LAST_HOUR)]
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


def distinct(columns: Sequence[pl.Series]) -> pl.Series:
    """Return the entries of columns in order, each once."""
    entries = np.sort(np.concatenate([EMPTY, *columns]))  # np.unique takes four times as long
    return pl.Series("entry", entries[np.diff(entries, prepend=~entries[:1]) != 0])


def _micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
