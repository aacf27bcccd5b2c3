"""Chooses the data files of a table by the statistics in its log, so that a look-up opens only the files it needs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse._util.dates import FIRST_MOMENT, LAST_MOMENT, moved
from mg_lakehouse.events.schemas import TIMESTAMP
from mg_lakehouse.location import address_of

__all__ = ["Span", "all_files", "coarsened", "data_files", "files_between", "may_hold", "meets", "spans_around", "within"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Span = tuple[datetime, datetime]
"""A closed span of time."""

_CUT: Final = timedelta(microseconds=999)
"""Delta truncates times in statistics to milliseconds: a file's greatest time may be this much later than its log states."""

_MANY: Final = 128
"""Spans in a choice of files, at most: more make no difference to the choice."""


def files_between(handle: DeltaTable, column: str, spans: Sequence[Span]) -> list[str]:
    """Return the addresses of the data files whose statistics of ``column`` meet one of the spans.

    A file without statistics of the column is always included.
    """
    return data_files(handle, column).filter(meets(column, spans))["address"].to_list()


def all_files(handle: DeltaTable, partition: tuple[str, str] | None = None) -> list[str]:
    """Return the addresses of all data files, or of those of one partition, given as its column and the value's text."""
    uris = handle.file_uris() if partition is None else handle.file_uris(file_pruning_predicate=[(partition[0], "=", partition[1])])
    return [address_of(uri) for uri in uris]


def data_files(handle: DeltaTable, *columns: str) -> pl.DataFrame:
    """Return the ``address`` and the ``rows`` of each data file, and each column's least and greatest value and its nulls in it.

    The values are in ``min.<column>`` and ``max.<column>``, for :func:`meets`, the nulls in ``nulls.<column>``; each is null
    without statistics. A long text is cut short: anything that begins with a maximum can be in the file.
    """
    actions = pl.DataFrame(handle.get_add_actions(flatten=True))
    root = address_of(handle.table_uri).rstrip("/")
    named = {"rows": "num_records"}
    for column in columns:
        named |= {f"min.{column}": f"min.{column}", f"max.{column}": f"max.{column}", f"nulls.{column}": f"null_count.{column}"}
    known = [(pl.col(own) if own in actions.columns else pl.lit(None)).alias(name) for name, own in named.items()]
    return actions.select(pl.lit(f"{root}/").add(pl.col("path")).alias("address"), *known)


def meets(column: str, spans: Sequence[Span]) -> pl.Expr:
    """Whether a file can hold a row whose ``column``, a time, is in one of the spans, which are ordered and do not meet."""
    low, high = pl.col(f"min.{column}").cast(TIMESTAMP), pl.col(f"max.{column}").cast(TIMESTAMP) + _CUT
    first, last = (pl.lit(pl.Series(bounds, dtype=TIMESTAMP)) for bounds in ([span[0] for span in spans], [span[1] for span in spans]))
    # Spans that begin before the file's end, minus those that end before its start: two look-ups, however many spans there are.
    overlapping = first.search_sorted(high, side="right") > last.search_sorted(low, side="left")
    return overlapping | low.is_null() | high.is_null()


def may_hold(column: str, value: str) -> pl.Expr:
    """Whether a file can hold a row whose ``column`` is ``value``, a short text."""
    return ((pl.col(f"min.{column}") <= value) & (pl.col(f"max.{column}") >= value)).fill_null(value=True)


def within(column: str, spans: Sequence[Span]) -> pl.Expr:
    """Whether a row's ``column``, a time, is in one of the spans. Only the row groups of a file that can hold one are read."""
    return pl.any_horizontal(*(pl.col(column).is_between(_instant(first), _instant(last)) for first, last in spans))


def _instant(at: datetime) -> pl.Expr:
    """Return a time as a literal. For a datetime with a zone Polars (2.1) builds a whole frame, 0.4 ms each."""
    return pl.lit((at - _EPOCH) // timedelta(microseconds=1), dtype=pl.Int64).cast(TIMESTAMP)


def spans_around(times: pl.Series, margin: timedelta) -> list[Span]:
    """Return ordered spans around some times, with a margin on both sides, merged where they meet, and :func:`coarsened` to ``_MANY``.

    Times and margins outside the years 1 to 9999 are cut to their first or last moment.
    """
    ordered = times.drop_nulls().clip(FIRST_MOMENT, LAST_MOMENT).unique().sort()
    if ordered.is_empty():
        return []
    widest = ordered.diff().to_frame("gap").with_row_index().filter(pl.col("gap") > 2 * margin).top_k(_MANY - 1, by="gap")["index"].sort()
    starts = ordered.gather([0, *widest])
    ends = ordered.gather([*(widest - 1), ordered.len() - 1])
    return [(moved(first, -margin), moved(last, margin)) for first, last in zip(starts, ends, strict=True)]


def coarsened(spans: Sequence[Span], at_most: int) -> list[Span]:
    """Merge ordered spans over the smallest gaps between them until at most ``at_most`` are left."""
    gaps = sorted(range(1, len(spans)), key=lambda place: spans[place - 1][1] - spans[place][0])
    cuts = sorted(gaps[: at_most - 1])
    return [(spans[start][0], spans[end - 1][1]) for start, end in zip([0, *cuts], [*cuts, len(spans)], strict=True)] if spans else []
