"""The data files of a table, chosen by the statistics in its log: what a look-up need not open costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl
from deltalake import DeltaTable

__all__ = ["Span", "files_between", "files_of_others", "spans_around"]

Span = tuple[datetime, datetime]
"""A closed span of time."""

_SPANS: Final = 64
"""Spans in one filter, at most: a longer one takes longer to test than the rows between take to read."""


def files_between(handle: DeltaTable, column: str, spans: Sequence[Span]) -> list[str]:
    """Addresses of the data files whose statistics of ``column`` meet one of the spans.

    A file without statistics of the column is always among them.
    """
    low, high = pl.col("low"), pl.col("high")
    meets = pl.any_horizontal(pl.lit(value=False), *((low <= last) & (high >= first) for first, last in spans))
    return _ranges(handle, column).filter(meets | low.is_null() | high.is_null())["address"].to_list()


def files_of_others(handle: DeltaTable, column: str, value: str) -> list[str]:
    """Addresses of the data files that may hold rows whose ``column`` is another than ``value``, by their statistics."""
    only = (pl.col("low") == value) & (pl.col("high") == value)
    return _ranges(handle, column).filter(~only.fill_null(value=False))["address"].to_list()


def _ranges(handle: DeltaTable, column: str) -> pl.DataFrame:
    """The ``address`` of each data file, and the ``low``est and ``high``est value of a column; null where there are no statistics."""
    actions = pl.DataFrame(handle.get_add_actions(flatten=True))
    root = handle.table_uri.rstrip("/").removeprefix("file://")
    bounds = {name: f"{bound}.{column}" for name, bound in (("low", "min"), ("high", "max"))}
    known = {name: pl.col(bound) if bound in actions.columns else pl.lit(None) for name, bound in bounds.items()}
    return actions.select(address=pl.lit(f"{root}/") + pl.col("path"), **known)


def spans_around(times: pl.Series, margin: timedelta) -> list[Span]:
    """Spans that hold each of some times with a margin on both sides, merged where they meet, few enough to filter by."""
    ordered = times.drop_nulls().unique().sort()
    if ordered.is_empty():
        return []
    gaps = ordered.diff()
    widest = gaps.to_frame("gap").with_row_index().filter(pl.col("gap") > 2 * margin).top_k(_SPANS - 1, by="gap")["index"].sort()
    starts = ordered.gather([0, *widest])
    ends = ordered.gather([*(widest - 1), ordered.len() - 1])
    return [(first - margin, last + margin) for first, last in zip(starts, ends, strict=True)]
